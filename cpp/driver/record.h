#ifndef TFMINIMIZE_DRIVER_RECORD_H_
#define TFMINIMIZE_DRIVER_RECORD_H_

#include <limits>

#include "driver/history.h"
#include "solvers/bounds.h"
#include "solvers/problem.h"
#include "solvers/solver.h"

namespace tfminimize {

/// The row of a record for where the solver is.
inline History::Row row_of(const solvers::Solver& solver, double gradient_norm, double step, double seconds) {
  return {solver.fun(), gradient_norm, step, solver.nfev(), seconds, solver.constr_violation()};
}

/// The gradient norm of that row after an iteration; NaN unless the derivatives are known.
inline double gradient_norm_of(const solvers::Solver& solver, bool is_known) {
  return is_known ? solver.gradient_norm() : std::numeric_limits<double>::quiet_NaN();
}

/// The gradient norm of the row of the start.
inline double gradient_norm_of_f(const solvers::Problem& problem) {
  return solvers::projected_gradient_norm(problem.x, problem.gradient, problem.lower, problem.upper);
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_RECORD_H_
