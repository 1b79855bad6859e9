#ifndef TFMINIMIZE_DRIVER_DRIVE_TOGETHER_H_
#define TFMINIMIZE_DRIVER_DRIVE_TOGETHER_H_

#include "driver/drive.h"
#include "driver/history.h"
#include "driver/stopwatch.h"
#include "objectives/reduced.h"
#include "solvers/problem.h"
#include "solvers/solver.h"

namespace tfminimize {

/// drive(), in all processes of a Reduced objective at once.
///
/// It begins and ends with a round in which all agree. What a callback throws, or its wish to stop, ends the solve in
/// all processes at the same evaluation. Callbacks::on_shared must be there in all processes or in none.
Timing drive_together(solvers::Solver& solver, const solvers::Problem& problem, Reduced& objective,
                      const Callbacks& callbacks, History* history = nullptr);

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_DRIVE_TOGETHER_H_
