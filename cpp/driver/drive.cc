#include "driver/drive.h"

namespace tfminimize {

Timing drive(solvers::Lbfgsb& solver, Span<const double> x, Span<double> g, Objective& objective,
             const Observer& on_iteration, const InterruptPoll& poll) {
  Stopwatch stopwatch(poll);
  double f = 0;
  run(
      solver, stopwatch, on_iteration, [&](solvers::Request /*evaluate*/) { f = objective.evaluate(x, g); },
      [&] { return solver.advance(f); });
  return stopwatch.finish();
}

Timing drive(solvers::Slsqp& solver, const solvers::SlsqpProblem& problem, ConstrainedObjective& objective,
             const Observer& on_iteration, const InterruptPoll& poll) {
  Stopwatch stopwatch(poll);
  const Derivatives derivatives{problem.gradient, problem.jacobian, solvers::SlsqpProblem::stride(problem.x.size())};
  double f = 0;
  bool both = false;
  const auto evaluate = [&](solvers::Request request) {
    both = request == solvers::Request::kEvaluate && objective.is_joint() && solver.expects_derivatives();
    if (both) {
      f = objective.evaluate(problem.x, problem.constraints, derivatives);
    } else if (request == solvers::Request::kEvaluate) {
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
