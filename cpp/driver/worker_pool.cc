#include "driver/worker_pool.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "solvers/threads.h"

namespace tfminimize {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

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

}  // namespace

/// Waits for all threads, however the scope ends.
class WorkerPool::Joined {
 public:
  explicit Joined(WorkerPool& pool) : pool_(pool) {}
  ~Joined() {
    for (std::thread& thread : pool_.threads_) thread.join();
  }
  Joined(const Joined&) = delete;
  Joined& operator=(const Joined&) = delete;

 private:
  WorkerPool& pool_;
};

WorkerPool::WorkerPool(const BatchRows& rows, BatchCallback callback) : rows_(rows), callback_(std::move(callback)) {
  outcome_.errors.resize(rows.fun.size());
}

BatchOutcome WorkerPool::run(std::size_t workers, const Work& work, const std::function<void()>& cancel) {
  const auto body = [this, work](std::size_t worker) {
    const solvers::SerialScope serial;  // the others are at work
    Timing timing;
    try {
      timing = work(worker);
    } catch (const Stopped&) {
      timing = {};  // nobody reads it
    } catch (...) {
      end(std::current_exception());
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    outcome_.timing += timing;
    if (--running_ == 0) ended_.notify_one();
  };
  const Joined joined(*this);
  running_ = workers;
  for (std::size_t i = 0; i < workers; ++i) {
    try {
      threads_.emplace_back(body, i);
    } catch (...) {
      stopped_ = true;
      throw;
    }
  }
  wait(cancel);
  if (interrupt_) std::rethrow_exception(interrupt_);
  return std::move(outcome_);
}

bool WorkerPool::start(const Worker& worker, std::size_t i) {
  const std::size_t n = worker.solver.size();
  copy(row(rows_.x, i, n), worker.problem.x);
  if (!rows_.lower.empty()) {
    copy(row(rows_.lower, i / rows_.starts, n), worker.lower);
    copy(row(rows_.upper, i / rows_.starts, n), worker.upper);
  }
  worker.solver.restart();
  if (seconds() < worker.solver.maxtime()) return true;
  worker.solver.stop(solvers::StopReason::kTimeLimit);
  return false;
}

void WorkerPool::finish(const Worker& worker, std::size_t i) {
  write(worker, rows_, i);
  done_.fetch_add(1, std::memory_order_relaxed);
}

void WorkerPool::fail(const Worker& worker, std::size_t i, std::exception_ptr error) {
  outcome_.errors[i] = std::move(error);
  write_failed(worker, rows_, i);
  done_.fetch_add(1, std::memory_order_relaxed);
}

void WorkerPool::wait(const std::function<void()>& cancel) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto all_ended = [this] { return running_ == 0; };
  while (!ended_.wait_for(lock, stopped_ ? kRepeatCancel : kPollInterval, all_ended)) {
    lock.unlock();
    tick(cancel);
    lock.lock();
  }
}

void WorkerPool::tick(const std::function<void()>& cancel) {
  try {
    if (!stopped_ && callback_) callback_(done_);
  } catch (...) {
    end(std::current_exception());
  }
  if (stopped_) cancel();
}

/// Ends the batch with this exception, unless it ends with another already.
void WorkerPool::end(const std::exception_ptr& error) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!interrupt_) interrupt_ = error;
  stopped_ = true;
}

}  // namespace tfminimize
