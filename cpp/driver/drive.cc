#include "driver/drive.h"

#include "driver/record.h"

namespace tfminimize {
namespace {

using solvers::Request;

/// Rows that a record has room for at first, so that it does not grow step by step in a short solve.
constexpr std::size_t kFewRows = 32;

/// One solve.
class Loop {
 public:
  Loop(solvers::Solver& solver, const solvers::Problem& problem, Objective& objective, const Callbacks& callbacks,
       History* history)
      : solver_(solver),
        problem_(problem),
        objective_(objective),
        callbacks_(callbacks),
        history_(history),
        buffers_(buffers_of(problem)),
        earlier_(history == nullptr ? 0 : history->seconds),
        stopwatch_(callbacks.poll, solver.maxtime() - earlier_) {
    if (solver.nfev() > 0) limit(stopwatch_.deadline());
    if (records_) history->rows.reserve(history->rows.size() + kFewRows);
  }
  ~Loop() {
    limit(kNever);
    note_seconds();
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Timing run() {
    try {
      solve();
    } catch (const DeadlinePassed&) {
      stop(solvers::StopReason::kTimeLimit);
    } catch (const StopWished&) {
      stop(solvers::StopReason::kCaller);
    }
    limit(kNever);
    if (is_joint_ && !has_derivatives()) differentiate();
    return stopwatch_.finish();
  }

 private:
  void solve() {
    Request request = solver_.request() == Request::kIteration ? advance() : solver_.request();
    begin_iteration(request);
    while (request != Request::kStopped) {
      const bool was_iteration = request == Request::kIteration;
      if (was_iteration) {
        end_iteration();
        if (solver_.request() == Request::kStopped) break;
      } else if (stopwatch_.is_late() && solver_.nfev() > 0 && !objective_.keeps_deadline()) {
        stop(solvers::StopReason::kTimeLimit);
        break;
      } else if (request == Request::kEvaluate) {
        evaluate();
      } else if (!has_extra_) {
        differentiate();
      }
      request = advance();
      if (was_iteration) begin_iteration(request);
    }
  }

  /// Ends the solve before an evaluation, or within one.
  void stop(solvers::StopReason reason) {
    solver_.stop(reason);
    has_extra_ = false;
  }

  /// Lets evaluations end at the deadline.
  void limit(std::chrono::steady_clock::time_point deadline) {
    if (stopwatch_.deadline() != kNever) objective_.set_deadline(deadline);
  }

  Request advance() {
    const double norm = awaits_start_ ? gradient_norm_of_f(problem_) : 0;  // now, as the solver moves x
    const Request request = solver_.advance(f_, both_);
    has_extra_ = has_extra_ && request != Request::kEvaluate;
    if (awaits_start_ && request != Request::kDerivatives) {
      awaits_start_ = false;
      add_row(norm, 0);
    }
    return request;
  }

  void evaluate() {
    both_ = is_always_both_ || (is_joint_ && solver_.expects_derivatives());
    const Span<const double> x = problem_.x;
    stopwatch_.evaluate([&] { f_ = both_ ? objective_.evaluate(x, buffers_) : objective_.values(x, buffers_); });
    if (is_first_) {
      is_first_ = false;
      limit(stopwatch_.deadline());
      if (callbacks_.on_start) stopwatch_.call_back([this] { callbacks_.on_start(f_); });
    }
    if (callbacks_.on_evaluation) stopwatch_.call_back(callbacks_.on_evaluation);
  }

  void differentiate() {
    stopwatch_.evaluate([this] { objective_.derivatives(problem_.x, buffers_); });
  }

  bool has_derivatives() const { return has_extra_ || solver_.has_derivatives(); }

  /// Reports that the solver goes on. A solver may then end without completing this iteration.
  void begin_iteration(Request request) {
    if (callbacks_.on_begin && request != Request::kStopped) stopwatch_.call_back(callbacks_.on_begin);
  }

  /// Records and reports an iteration. The record does not ask for derivatives that cost an evaluation of their own; a
  /// joint objective is asked for those at the last x in any case.
  void end_iteration() {
    const bool reads = (records_ && is_joint_) || (callbacks_.on_iteration && callbacks_.reads_derivatives);
    if (reads && !has_derivatives()) {
      differentiate();
      has_extra_ = true;
    }
    if (records_) add_row(gradient_norm_of(solver_, has_derivatives()), solver_.step_norm());
    if (callbacks_.on_iteration && call_back()) solver_.stop(solvers::StopReason::kCaller);
  }

  bool call_back() {
    note_seconds();
    bool stop = false;
    stopwatch_.call_back([&] { stop = callbacks_.on_iteration(); });
    return stop;
  }

  void add_row(double gradient_norm, double step) {
    history_->add(row_of(solver_, gradient_norm, step, earlier_ + stopwatch_.seconds_at_mark()));
  }

  void note_seconds() {
    if (history_ != nullptr) history_->seconds = earlier_ + stopwatch_.seconds();
  }

  solvers::Solver& solver_;
  const solvers::Problem& problem_;
  Objective& objective_;
  const Callbacks& callbacks_;
  History* const history_;
  Buffers buffers_;
  const double earlier_;  ///< Seconds of the solve before this.
  Stopwatch stopwatch_;
  const bool records_ = history_ != nullptr && history_->records();
  bool awaits_start_ = records_ && solver_.nfev() == 0;  ///< The start is to be recorded.
  const bool is_joint_ = objective_.is_joint();
  const bool is_always_both_ = !solver_.takes_values_alone();
  double f_ = 0;
  bool both_ = false;
  bool has_extra_ = false;  ///< Derivatives at x that the solver has not asked for.
  bool is_first_ = true;
};

}  // namespace

Timing drive(solvers::Solver& solver, const solvers::Problem& problem, Objective& objective, const Callbacks& callbacks,
             History* history) {
  return Loop(solver, problem, objective, callbacks, history).run();
}

}  // namespace tfminimize
