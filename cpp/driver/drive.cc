#include "driver/drive.h"

namespace tfminimize {
namespace {

using solvers::Request;

/// One solve.
class Loop {
 public:
  Loop(solvers::Solver& solver, const solvers::Problem& problem, Objective& objective, const Callbacks& callbacks)
      : solver_(solver),
        objective_(objective),
        callbacks_(callbacks),
        x_(problem.x),
        buffers_(buffers_of(problem)),
        stopwatch_(callbacks.poll) {}

  Timing run() {
    Request request = solver_.request() == Request::kIteration ? advance() : solver_.request();
    while (request != Request::kStopped) {
      if (request == Request::kEvaluate) {
        evaluate();
      } else if (request == Request::kDerivatives) {
        if (!has_extra_) differentiate();
      } else if (callbacks_.on_iteration) {
        if (call_back()) solver_.stop();
        if (solver_.request() == Request::kStopped) break;
      }
      request = advance();
    }
    if (is_joint_ && !has_derivatives()) differentiate();
    return stopwatch_.finish();
  }

 private:
  Request advance() {
    const Request request = solver_.advance(f_, both_);
    has_extra_ = has_extra_ && request != Request::kEvaluate;
    return request;
  }

  void evaluate() {
    both_ = is_always_both_ || (is_joint_ && solver_.expects_derivatives());
    stopwatch_.evaluate([this] { f_ = both_ ? objective_.evaluate(x_, buffers_) : objective_.values(x_, buffers_); });
    if (!is_first_) return;
    is_first_ = false;
    if (callbacks_.on_start) stopwatch_.call_back([this] { callbacks_.on_start(f_); });
  }

  void differentiate() {
    stopwatch_.evaluate([this] { objective_.derivatives(x_, buffers_); });
  }

  bool has_derivatives() const { return has_extra_ || solver_.has_derivatives(); }

  bool call_back() {
    if (callbacks_.reads_derivatives && !has_derivatives()) {
      differentiate();
      has_extra_ = true;
    }
    bool stop = false;
    stopwatch_.call_back([&] { stop = callbacks_.on_iteration(); });
    return stop;
  }

  solvers::Solver& solver_;
  Objective& objective_;
  const Callbacks& callbacks_;
  Span<const double> x_;
  Buffers buffers_;
  Stopwatch stopwatch_;
  const bool is_joint_ = objective_.is_joint();
  const bool is_always_both_ = !solver_.takes_values_alone();
  double f_ = 0;
  bool both_ = false;
  bool has_extra_ = false;  ///< Derivatives at x that the solver has not asked for.
  bool is_first_ = true;
};

}  // namespace

Timing drive(solvers::Solver& solver, const solvers::Problem& problem, Objective& objective,
             const Callbacks& callbacks) {
  return Loop(solver, problem, objective, callbacks).run();
}

}  // namespace tfminimize
