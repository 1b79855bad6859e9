#ifndef TFMINIMIZE_BINDINGS_SIDE_THREAD_H_
#define TFMINIMIZE_BINDINGS_SIDE_THREAD_H_

#include <pybind11/pybind11.h>

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>

namespace tfminimize::bindings {

namespace py = pybind11;

/// A thread of Python that does work for other threads, one piece at a time.
///
/// Python runs the handlers of signals in its main thread only, so nothing that they raise can interrupt the work. Each
/// process of a distributed solve therefore does the same exchanges, whatever the user presses.
class SideThread {
 public:
  /// What the thread runs, with the GIL held, until close().
  void serve();

  /// Runs work() in the thread, with the GIL held there. Call it without the GIL. Throws what work() throws, and
  /// std::runtime_error after close().
  void run(const std::function<void()>& work);

  /// Lets serve() return. Call it without the GIL.
  void close();

 private:
  std::mutex turns_;  ///< Held by the thread that has work done.
  std::mutex mutex_;  ///< Guards what follows.
  std::condition_variable changed_;
  const std::function<void()>* work_ = nullptr;
  std::exception_ptr error_;
  bool is_closed_ = false;
};

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_SIDE_THREAD_H_
