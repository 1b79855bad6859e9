#ifndef TFMINIMIZE_DRIVER_WORKER_POOL_H_
#define TFMINIMIZE_DRIVER_WORKER_POOL_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "driver/batch.h"

namespace tfminimize {

/// The threads of one batch. The calling thread polls meanwhile.
///
/// Make it on the heap, since its threads must not look at the stack of the calling thread: if the callback switches
/// greenlets, another greenlet's stack is in its place.
class WorkerPool {
 public:
  /// Thrown by check(), to end a worker.
  struct Stopped {};

  /// What each thread runs; it returns how it spent its time. If it throws anything but Stopped, the batch ends.
  using Work = std::function<Timing(std::size_t worker)>;

  WorkerPool(const BatchRows& rows, BatchCallback callback);
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Runs all workers to their end. If the callback throws, `cancel` asks their evaluations to end, again and again,
  /// and that exception comes through. So does one of a worker.
  BatchOutcome run(std::size_t workers, const Work& work, const std::function<void()>& cancel);

  // For the workers:

  const BatchRows& rows() const { return rows_; }
  /// Throws Stopped if the batch is to end.
  void check() const {
    if (stopped_) throw Stopped();
  }
  /// Seconds since the batch began.
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }
  /// Puts the start and the bounds of problem i into the worker's memory, and lets its solver begin anew. Returns
  /// whether there is time for it; if not, the solver has stopped.
  bool start(const Worker& worker, std::size_t i);
  /// Writes the results of problem i.
  void finish(const Worker& worker, std::size_t i);
  /// Writes those of a problem that ended with an exception.
  void fail(const Worker& worker, std::size_t i, std::exception_ptr error);

 private:
  class Joined;

  void wait(const std::function<void()>& cancel);
  void tick(const std::function<void()>& cancel);
  void end(const std::exception_ptr& error);

  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  const BatchRows rows_;
  const BatchCallback callback_;
  BatchOutcome outcome_;
  std::exception_ptr interrupt_;
  std::atomic<std::size_t> done_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t running_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_WORKER_POOL_H_
