#ifndef TFMINIMIZE_DRIVER_DRIVE_H_
#define TFMINIMIZE_DRIVER_DRIVE_H_

#include <functional>

#include "driver/history.h"
#include "driver/stopwatch.h"
#include "objectives/objective.h"
#include "solvers/problem.h"
#include "solvers/solver.h"
#include "solvers/span.h"

namespace tfminimize {

/// What a solve calls as it runs. Each may be empty; an exception from one of them ends the solve.
struct Callbacks {
  std::function<void(double f)> on_start;  ///< After the first evaluation, before the solver moves x.
  std::function<void()> on_begin;          ///< Before the first evaluation of every iteration, and of this solve.
  std::function<void()> on_evaluation;     ///< After every evaluation of values, before the solver moves x.
  std::function<bool()> on_iteration;      ///< After every iteration; true asks the solver to stop.
  /// In a solve of many processes: after on_iteration(), once `shared` has been added up over them; true asks to stop.
  std::function<bool()> on_shared;
  Span<double> shared;
  InterruptPoll poll;
  /// Whether on_iteration() reads derivatives. If so, they are evaluated for it even if the solver has not asked for
  /// them. If the solver asks for them next, they are not evaluated again.
  bool reads_derivatives = false;
};

/// The memory of a problem that the objective writes to.
inline Buffers buffers_of(const solvers::Problem& problem) {
  return {problem.gradient, problem.constraints, problem.jacobian, solvers::Problem::stride(problem.x.size())};
}

/// Solves to the end: asks the solver, evaluates, calls back.
///
/// `problem` is the solver's. A solver that has just completed an iteration (because its state was restored) goes on
/// from there and does not report that iteration again. What the objective or a callback throws comes through, and
/// leaves the solver where it was.
///
/// If the solver expects to need both, a joint objective evaluates values and derivatives at once. If the solver stops
/// without the derivatives at the last x, a joint objective evaluates them, so that all buffers belong to the same x;
/// the solver does not count that.
///
/// Once the solve has taken the solver's maxtime, it ends before the next evaluation, or within one if the objective
/// can do that, but always evaluates the start. `history` is the record of the solve so far, which goes on; it may be
/// null.
Timing drive(solvers::Solver& solver, const solvers::Problem& problem, Objective& objective,
             const Callbacks& callbacks = {}, History* history = nullptr);

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_DRIVE_H_
