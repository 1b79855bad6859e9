#ifndef TFMINIMIZE_SOLVERS_THREADS_H_
#define TFMINIMIZE_SOLVERS_THREADS_H_

#include <cstddef>

namespace tfminimize::solvers {

/// Fewer short calls stay in the thread of the caller: waking another takes as long as they do.
inline constexpr std::size_t kFewest = 6;

/// Calls call(context, i) once for each i < count, in their order, in this thread and, if `count` is at least `fewest`,
/// in others of the process's pool. Returns after the last call; what the calls have written can then be read. A call
/// must not throw.
///
/// The pool serves one caller at a time. Another one, a SerialScope, and a system that grants no thread make the calls
/// in the thread of the caller alone; so the results must not depend on who makes which call.
void run_in_threads(std::size_t count, void (*call)(const void* context, std::size_t i), const void* context,
                    std::size_t fewest = kFewest);

/// How many threads a caller of run_in_threads() uses, itself included. At first the cores that the process may use.
std::size_t num_threads();

/// Changes it for all callers from now on; 0: the cores again. Threads that are no longer needed sleep.
void set_num_threads(std::size_t count);

/// Whether the calling thread is in a SerialScope.
bool is_serial();

/// While it lives, run_in_threads() stays in this thread: for one that is one of many already.
class SerialScope {
 public:
  SerialScope();
  ~SerialScope();
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool before_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_THREADS_H_
