#include "solvers/threads.h"

#include <cstddef>

/// What Python calls, because this library has a pool of its own beside that of the extension.
extern "C" __attribute__((visibility("default"))) void tfminimize_set_num_threads(std::size_t count) {
  tfminimize::solvers::set_num_threads(count);
}
