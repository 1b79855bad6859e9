#include "driver/drive.h"

#include <chrono>

namespace tfminimize {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(50);

/// Does the parts of a solve that are not the solver's, and times all.
class Stopwatch {
 public:
  explicit Stopwatch(const InterruptPoll& poll) : poll_(poll), mark_(Clock::now()), next_poll_(mark_ + kPollInterval) {}

  /// An evaluation that was cancelled because of an interrupt ends as that interrupt, not as its own error.
  template <typename Evaluate>
  void evaluate(const Evaluate& evaluate) {
    const Clock::time_point start = Clock::now();
    timing_.solver += Seconds(start - mark_).count();
    try {
      evaluate();
    } catch (...) {
      if (poll_) poll_();
      throw;
    }
    mark_ = Clock::now();
    timing_.evaluate += Seconds(mark_ - start).count();
    ++timing_.evaluations;
    if (mark_ >= next_poll_) {
      if (poll_) poll_();
      mark_ = Clock::now();
      next_poll_ = mark_ + kPollInterval;
    }
  }

  bool observe(const Observer& observer) {
    timing_.solver += Seconds(Clock::now() - mark_).count();
    const bool stop = observer();
    mark_ = Clock::now();
    return stop;
  }

  Timing finish() {
    timing_.solver += Seconds(Clock::now() - mark_).count();
    return timing_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;

  const InterruptPoll& poll_;
  Timing timing_;
  Clock::time_point mark_;
  Clock::time_point next_poll_;
};

/// The loop: evaluate(request) does what the solver asks for, advance() hands it over.
template <typename Solver, typename Evaluate, typename Advance>
void run(Solver& solver, Stopwatch& stopwatch, const Observer& on_iteration, const Evaluate& evaluate,
         const Advance& advance) {
  Request request = solver.request() == Request::kIteration ? advance() : solver.request();
  while (request != Request::kStopped) {
    if (request != Request::kIteration) {
      stopwatch.evaluate([&] { evaluate(request); });
    } else if (on_iteration) {
      if (stopwatch.observe(on_iteration)) solver.stop();
      if (solver.request() == Request::kStopped) break;
    }
    request = advance();
  }
}

}  // namespace

Timing drive(Lbfgsb& solver, Span<const double> x, Span<double> g, Objective& objective, const Observer& on_iteration,
             const InterruptPoll& poll) {
  Stopwatch stopwatch(poll);
  double f = 0;
  run(
      solver, stopwatch, on_iteration, [&](Request /*evaluate*/) { f = objective.evaluate(x, g); },
      [&] { return solver.advance(f); });
  return stopwatch.finish();
}

Timing drive(Slsqp& solver, const SlsqpProblem& problem, ConstrainedObjective& objective, const Observer& on_iteration,
             const InterruptPoll& poll) {
  Stopwatch stopwatch(poll);
  const Derivatives derivatives{problem.gradient, problem.jacobian, SlsqpProblem::stride(problem.x.size())};
  double f = 0;
  bool both = false;
  const auto evaluate = [&](Request request) {
    both = request == Request::kEvaluate && objective.is_joint() && solver.expects_derivatives();
    if (both) {
      f = objective.evaluate(problem.x, problem.constraints, derivatives);
    } else if (request == Request::kEvaluate) {
      f = objective.evaluate_values(problem.x, problem.constraints);
    } else {
      objective.evaluate_derivatives(problem.x, derivatives);
    }
  };
  run(solver, stopwatch, on_iteration, evaluate, [&] { return solver.advance(f, both); });
  if (objective.is_joint() && !solver.has_derivatives()) {
    stopwatch.evaluate([&] { objective.evaluate_derivatives(problem.x, derivatives); });
  }
  return stopwatch.finish();
}

}  // namespace tfminimize
