#include "driver/in_step.h"

#include <cstddef>
#include <exception>
#include <list>
#include <memory>
#include <utility>

#include "driver/drive.h"
#include "driver/record.h"
#include "driver/stopwatch.h"
#include "driver/worker_pool.h"

namespace tfminimize {
namespace {

using solvers::Request;

/// One team at work: its members, the first of them busy.
class Steps {
 public:
  /// Solves the problems from `next` to before `end`.
  Steps(WorkerPool& pool, const Team& team, std::size_t next, std::size_t end)
      : pool_(pool), objective_(team.objective), next_(next), end_(end), begin_(pool.seconds()) {
    for (const Worker& member : team.members) tasks_.push_back({&member, 0, false});
    points_.resize(tasks_.size());
  }

  Timing run() {
    const InterruptPoll poll = [this] { pool_.check(); };
    Stopwatch stopwatch(poll, tasks_.front().member->solver.maxtime() - begin_);
    while (busy_ < tasks_.size() && take(tasks_[busy_])) ++busy_;
    while (busy_ > 0) {
      const Span<ProblemPoint> points(points_.data(), busy_);
      for (std::size_t i = 0; i < busy_; ++i) points[i] = point(tasks_[i]);
      std::exception_ptr error;
      try {
        stopwatch.evaluate([&] { objective_.evaluate_all(points); });
      } catch (const WorkerPool::Stopped&) {
        throw;
      } catch (...) {
        error = std::current_exception();
      }
      now_ = begin_ + stopwatch.seconds_at_mark();
      is_late_ = stopwatch.is_late();
      // Backwards, since the last task moves to the place of one that has ended.
      for (std::size_t i = busy_; i-- > 0;) {
        if (error) pool_.fail(*tasks_[i].member, tasks_[i].problem, error);
        if ((error || !goes_on(tasks_[i], points[i].f)) && !take(tasks_[i])) std::swap(tasks_[i], tasks_[--busy_]);
      }
    }
    return stopwatch.finish();
  }

 private:
  struct Task {
    const Worker* member;
    std::size_t problem;
    bool has_ended;  ///< The solver has, and needs only the derivatives where it has ended.
  };

  static ProblemPoint point(const Task& task) {
    const solvers::Problem& problem = task.member->problem;
    return {task.problem, problem.x, buffers_of(problem), 0};
  }

  /// Begins the next problem that needs an evaluation; returns whether there was one. The others have no time, or stop
  /// at once.
  bool take(Task& task) {
    while (next_ < end_) {
      task.problem = next_++;
      const bool has_time = pool_.start(*task.member, task.problem);
      const solvers::Solver& solver = task.member->solver;
      task.has_ended = solver.request() == Request::kStopped;
      if (!task.has_ended || (has_time && !solver.has_derivatives())) return true;
      pool_.finish(*task.member, task.problem);
    }
    return false;
  }

  /// Tells the solver what has been evaluated; returns whether it needs another evaluation, or writes the results.
  bool goes_on(Task& task, double f) {
    solvers::Solver& solver = task.member->solver;
    if (!task.has_ended) {
      if (solver.nfev() == 0 && keeps_rows(task)) {
        advance_from_start(task, f);
      } else {
        solver.advance(f, true);
      }
      while (solver.request() == Request::kIteration) {
        if (keeps_rows(task)) add_row(task, gradient_norm_of(solver, solver.has_derivatives()), solver.step_norm());
        solver.advance(f, true);
      }
      if (solver.request() != Request::kStopped) {
        if (!is_late_) return true;
        solver.stop(solvers::StopReason::kTimeLimit);
      }
      task.has_ended = true;
      if (!solver.has_derivatives()) return true;
    }
    pool_.finish(*task.member, task.problem);
    return false;
  }

  void advance_from_start(const Task& task, double f) {
    const double norm = gradient_norm_of_f(task.member->problem);  // now, as the solver moves x
    task.member->solver.advance(f, true);
    add_row(task, norm, 0);
  }

  bool keeps_rows(const Task& task) const {
    const Span<History> histories = pool_.rows().histories;
    return !histories.empty() && histories[task.problem].keeps_rows;
  }

  void add_row(const Task& task, double norm, double step) const {
    pool_.rows().histories[task.problem].rows.push_back(row_of(task.member->solver, norm, step, now_));
  }

  WorkerPool& pool_;
  VectorObjective& objective_;
  std::size_t next_;
  const std::size_t end_;
  const double begin_;  ///< Seconds of the batch before this.
  std::vector<Task> tasks_;
  std::size_t busy_ = 0;  ///< How many of them, the first ones.
  std::vector<ProblemPoint> points_;
  double now_ = 0;
  bool is_late_ = false;
};

/// The teams of a batch.
class Teams {
 public:
  Teams(std::vector<Team> teams, const BatchRows& rows, BatchCallback callback)
      : teams_(std::move(teams)), pool_(rows, std::move(callback)) {}

  BatchOutcome run() {
    const auto work = [this](std::size_t i) {
      const std::size_t count = pool_.rows().fun.size();
      return Steps(pool_, teams_[i], count * i / teams_.size(), count * (i + 1) / teams_.size()).run();
    };
    const auto cancel = [this] {
      for (const Team& team : teams_) team.objective.cancel();
    };
    return pool_.run(teams_.size(), work, cancel);
  }

 private:
  const std::vector<Team> teams_;
  WorkerPool pool_;
};

/// Keeps the batch of one team going while it lives.
class Begun {
 public:
  Begun(VectorObjective& objective, const std::vector<BatchedInput>& inputs, bool is_alone) : objective_(objective) {
    objective.begin(inputs, is_alone);
  }
  ~Begun() { objective_.end_batch(); }
  Begun(const Begun&) = delete;
  Begun& operator=(const Begun&) = delete;

 private:
  VectorObjective& objective_;
};

}  // namespace

BatchOutcome solve_in_step(const std::vector<Team>& teams, const std::vector<BatchedInput>& inputs,
                           const BatchRows& rows, const BatchCallback& callback) {
  std::list<Begun> begun;
  for (const Team& team : teams) begun.emplace_back(team.objective, inputs, teams.size() == 1);
  const auto batch = std::make_unique<Teams>(teams, rows, callback);  // on the heap, see WorkerPool
  return batch->run();
}

}  // namespace tfminimize
