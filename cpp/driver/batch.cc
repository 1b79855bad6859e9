#include "driver/batch.h"

#include <atomic>
#include <list>
#include <memory>
#include <utility>

#include "driver/drive.h"
#include "driver/worker_pool.h"

namespace tfminimize {
namespace {

/// Workers that take the next problem until there are no more.
class InTurn {
 public:
  InTurn(std::vector<Worker> workers, const BatchRows& rows, BatchCallback callback)
      : workers_(std::move(workers)), pool_(rows, std::move(callback)) {}

  BatchOutcome run() {
    const auto cancel = [this] {
      for (const Worker& worker : workers_) worker.objective.cancel();
    };
    return pool_.run(
        workers_.size(), [this](std::size_t worker) { return work(workers_[worker]); }, cancel);
  }

 private:
  Timing work(const Worker& worker) {
    Callbacks callbacks;
    callbacks.poll = [this] { pool_.check(); };
    Timing timing;
    for (;;) {
      pool_.check();
      const std::size_t i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= pool_.rows().fun.size()) return timing;
      try {
        timing += solve(worker, i, callbacks);
        pool_.finish(worker, i);
      } catch (const WorkerPool::Stopped&) {
        throw;
      } catch (...) {
        pool_.fail(worker, i, std::current_exception());
      }
    }
  }

  Timing solve(const Worker& worker, std::size_t i, const Callbacks& callbacks) {
    worker.objective.select(i);
    if (!pool_.start(worker, i)) return {};
    const Span<History> histories = pool_.rows().histories;
    History unrecorded;
    History& history = histories.empty() ? unrecorded : histories[i];
    history.seconds = pool_.seconds();
    return drive(worker.solver, worker.problem, worker.objective, callbacks, &history);
  }

  const std::vector<Worker> workers_;
  WorkerPool pool_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace

BatchOutcome solve_batch(const std::vector<Worker>& workers, const std::vector<BatchedInput>& inputs,
                         const BatchRows& rows, const BatchCallback& callback) {
  std::list<BatchScope<Objective>> scopes;
  for (const Worker& worker : workers) scopes.emplace_back(worker.objective, inputs);
  const auto batch = std::make_unique<InTurn>(workers, rows, callback);  // on the heap, see WorkerPool
  return batch->run();
}

}  // namespace tfminimize
