#ifndef TFMINIMIZE_DRIVER_DRIVE_H_
#define TFMINIMIZE_DRIVER_DRIVE_H_

#include <functional>

#include "driver/stopwatch.h"
#include "objectives/objective.h"
#include "solvers/problem.h"
#include "solvers/solver.h"

namespace tfminimize {

/// What a solve calls on its way. Each may be empty; what they throw ends the solve.
struct Callbacks {
  std::function<void(double f)> on_start;  ///< After the first evaluation, before the solver moves x.
  std::function<bool()> on_iteration;      ///< After every iteration; true asks the solver to stop.
  InterruptPoll poll;
  /// Whether on_iteration() reads derivatives. They are then evaluated for it, if the solver has not asked for them. If
  /// the solver asks for them next, they are not evaluated again.
  bool reads_derivatives = false;
};

/// What an objective writes for a solver, which reads it there.
inline Buffers buffers_of(const solvers::Problem& problem) {
  return {problem.gradient, problem.constraints, problem.jacobian, solvers::Problem::stride(problem.x.size())};
}

/// Solves to the end: asks the solver, evaluates, calls back.
///
/// `problem` is the solver's. A solver that stands at a complete iteration (because its state was restored) goes on
/// from there and does not report that iteration again. What the objective or a callback throws comes through, and
/// leaves the solver where it was.
///
/// A joint objective is asked for values and derivatives at once if the solver expects to need both. It is also asked
/// for the derivatives at the last x, if the solver has stopped without, so that what is in the buffers belongs
/// together; the solver does not count that.
Timing drive(solvers::Solver& solver, const solvers::Problem& problem, Objective& objective,
             const Callbacks& callbacks = {});

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_DRIVE_H_
