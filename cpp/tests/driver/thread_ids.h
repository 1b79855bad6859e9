#ifndef TFMINIMIZE_TESTS_DRIVER_THREAD_IDS_H_
#define TFMINIMIZE_TESTS_DRIVER_THREAD_IDS_H_

#include <cstddef>
#include <mutex>
#include <set>
#include <thread>

#include "solvers/threads.h"

namespace tfminimize::testing {

/// Which threads make many calls of run_in_threads().
inline std::set<std::thread::id> threads_of_calls() {
  struct Ids {
    std::mutex mutex;
    std::set<std::thread::id> ids;
  };
  Ids seen;
  Ids* const context = &seen;
  solvers::run_in_threads(
      1000,
      [](const void* ids, std::size_t /*i*/) {
        Ids& all = **static_cast<Ids* const*>(ids);
        const std::lock_guard<std::mutex> lock(all.mutex);
        all.ids.insert(std::this_thread::get_id());
      },
      &context);
  return seen.ids;
}

}  // namespace tfminimize::testing

#endif  // TFMINIMIZE_TESTS_DRIVER_THREAD_IDS_H_
