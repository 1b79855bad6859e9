// See farmhash.h.
#pragma once

extern "C" {

enum ynn_status {
  ynn_status_success,
  ynn_status_deprecated,
  ynn_status_error,
  ynn_status_invalid_parameter,
  ynn_status_unsupported_parameter
};
enum ynn_type { ynn_type_invalid };
typedef struct ynn_subgraph* ynn_subgraph_t;
typedef struct ynn_runtime* ynn_runtime_t;
typedef struct ynn_threadpool* ynn_threadpool_t;
void ynn_delete_subgraph(ynn_subgraph_t);
void ynn_delete_runtime(ynn_runtime_t);
void ynn_delete_threadpool(ynn_threadpool_t);
}
