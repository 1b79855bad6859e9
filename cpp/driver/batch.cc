#include "driver/batch.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "driver/drive.h"
#include "solvers/threads.h"

namespace tfminimize {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Thrown to end a solve when the batch has been stopped.
struct Stopped {};

/// Row i of a matrix whose rows have `size` elements.
template <typename T>
Span<T> row(Span<T> matrix, std::size_t i, std::size_t size) {
  return {matrix.data() + i * size, size};
}

void copy(Span<const double> source, Span<double> target) { std::copy(source.begin(), source.end(), target.begin()); }

void write_counts(const solvers::Solver& solver, const BatchRows& rows, std::size_t i) {
  rows.nit[i] = solver.nit();
  rows.nfev[i] = solver.nfev();
  rows.njev[i] = solver.njev();
}

/// Writes NaN where problem i has no derivatives.
void write_no_derivatives(const Worker& worker, const BatchRows& rows, std::size_t i) {
  const std::size_t m = rows.multipliers.size() / rows.fun.size();
  for (const Span<double> values : {row(rows.gradient, i, worker.solver.size()), row(rows.multipliers, i, m)}) {
    std::fill(values.begin(), values.end(), kNaN);
  }
}

void write(const Worker& worker, const BatchRows& rows, std::size_t i) {
  const solvers::Solver& solver = worker.solver;
  const Span<const double> multipliers = solver.multipliers();
  copy(worker.problem.x, row(rows.x, i, solver.size()));
  copy(worker.problem.gradient, row(rows.gradient, i, solver.size()));
  copy(multipliers, row(rows.multipliers, i, multipliers.size()));
  if (solver.nfev() == 0) write_no_derivatives(worker, rows, i);
  rows.fun[i] = solver.fun();
  rows.constr_violation[i] = solver.constr_violation();
  rows.status[i] = solver.status_code();
  rows.message[i] = solver.message();
  write_counts(solver, rows, i);
}

/// Writes the results of a problem that ended with an exception.
void write_failed(const Worker& worker, const BatchRows& rows, std::size_t i) {
  write_no_derivatives(worker, rows, i);
  rows.fun[i] = rows.constr_violation[i] = kNaN;
  rows.status[i] = BatchRows::kFailed;
  rows.message[i] = nullptr;
  write_counts(worker.solver, rows, i);
}

/// The threads of one batch.
class Pool {
 public:
  Pool(std::vector<Worker> workers, const BatchRows& rows, BatchCallback callback)
      : workers_(std::move(workers)), rows_(rows), callback_(std::move(callback)) {
    outcome_.errors.resize(rows.fun.size());
  }

  BatchOutcome run() {
    const Joined joined(*this);
    running_ = workers_.size();
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      try {
        threads_.emplace_back([this, i] { work(i); });
      } catch (...) {
        stopped_ = true;
        throw;
      }
    }
    wait();
    if (interrupt_) std::rethrow_exception(interrupt_);
    return std::move(outcome_);
  }

 private:
  /// Waits for all threads, however the scope ends.
  class Joined {
   public:
    explicit Joined(Pool& pool) : pool_(pool) {}
    ~Joined() {
      for (std::thread& thread : pool_.threads_) thread.join();
    }
    Joined(const Joined&) = delete;
    Joined& operator=(const Joined&) = delete;

   private:
    Pool& pool_;
  };

  /// The body of one thread, which solves one problem after another.
  void work(std::size_t index) {
    const solvers::SerialScope serial;  // the others are at work
    const Worker& worker = workers_[index];
    Callbacks callbacks;
    callbacks.poll = [this] {
      if (stopped_) throw Stopped();
    };
    Timing timing;
    while (!stopped_) {
      const std::size_t i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= rows_.fun.size()) break;
      try {
        const Timing spent = solve(worker, i, callbacks);
        timing.evaluate += spent.evaluate;
        timing.solver += spent.solver;
        timing.evaluations += spent.evaluations;
        write(worker, rows_, i);
      } catch (const Stopped&) {
        break;
      } catch (...) {
        outcome_.errors[i] = std::current_exception();
        write_failed(worker, rows_, i);
      }
      done_.fetch_add(1, std::memory_order_relaxed);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    outcome_.timing.evaluate += timing.evaluate;
    outcome_.timing.solver += timing.solver;
    outcome_.timing.evaluations += timing.evaluations;
    if (--running_ == 0) ended_.notify_one();
  }

  Timing solve(const Worker& worker, std::size_t i, const Callbacks& callbacks) {
    worker.objective.select(i);
    const std::size_t n = worker.solver.size();
    copy(row(rows_.x, i, n), worker.problem.x);
    if (!rows_.lower.empty()) {
      copy(row(rows_.lower, i / rows_.starts, n), worker.lower);
      copy(row(rows_.upper, i / rows_.starts, n), worker.upper);
    }
    worker.solver.restart();
    History unrecorded;
    History& history = rows_.histories.empty() ? unrecorded : rows_.histories[i];
    history.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    if (history.seconds < worker.solver.maxtime()) {
      return drive(worker.solver, worker.problem, worker.objective, callbacks, &history);
    }
    worker.solver.stop(solvers::StopReason::kTimeLimit);
    return {};
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto all_ended = [this] { return running_ == 0; };
    while (!ended_.wait_for(lock, stopped_ ? kRepeatCancel : kPollInterval, all_ended)) {
      lock.unlock();
      tick();
      lock.lock();
    }
  }

  void tick() {
    try {
      if (!stopped_ && callback_) callback_(done_);
    } catch (...) {
      interrupt_ = std::current_exception();
      stopped_ = true;
    }
    if (!stopped_) return;
    for (const Worker& worker : workers_) worker.objective.cancel();
  }

  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  const std::vector<Worker> workers_;
  const BatchRows rows_;
  const BatchCallback callback_;
  BatchOutcome outcome_;
  std::exception_ptr interrupt_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> done_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t running_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace

BatchOutcome solve_batch(const std::vector<Worker>& workers, const std::vector<BatchedInput>& inputs,
                         const BatchRows& rows, const BatchCallback& callback) {
  std::list<BatchScope<Objective>> scopes;
  for (const Worker& worker : workers) scopes.emplace_back(worker.objective, inputs);
  // On the heap, since the threads of the pool must not look at this stack: if the callback switches greenlets, another
  // greenlet's stack is in its place.
  const auto pool = std::make_unique<Pool>(workers, rows, callback);
  return pool->run();
}

}  // namespace tfminimize
