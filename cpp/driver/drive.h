#ifndef TFMINIMIZE_DRIVER_DRIVE_H_
#define TFMINIMIZE_DRIVER_DRIVE_H_

#include "driver/loop.h"
#include "objectives/constrained_objective.h"
#include "objectives/objective.h"
#include "solvers/lbfgsb/lbfgsb.h"
#include "solvers/slsqp/slsqp.h"
#include "solvers/span.h"

namespace tfminimize {

/// Solves to the end: asks the solver, evaluates, tells the observer.
///
/// x, g are the buffers of the solver. A solver that stands at a complete iteration (because its state was restored)
/// goes on from there and does not report that iteration again. What the objective, the observer or the poll throws
/// comes through, and leaves the solver where it was.
Timing drive(solvers::Lbfgsb& solver, Span<const double> x, Span<double> g, Objective& objective,
             const Observer& on_iteration, const InterruptPoll& poll);

/// The same for a constrained problem, which is the solver's.
///
/// A joint objective is asked for values and derivatives at once where the solver expects to need both. It is also
/// asked for the derivatives at the last x, if the solver has stopped without, so that what is in the buffers belongs
/// together; the solver does not count that.
Timing drive(solvers::Slsqp& solver, const solvers::SlsqpProblem& problem, ConstrainedObjective& objective,
             const Observer& on_iteration, const InterruptPoll& poll);

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_DRIVE_H_
