#ifndef TFMINIMIZE_DRIVER_IN_STEP_H_
#define TFMINIMIZE_DRIVER_IN_STEP_H_

#include <vector>

#include "driver/batch.h"
#include "objectives/batched_input.h"
#include "objectives/vector_objective.h"

namespace tfminimize {

/// Solvers that go in step, in one thread.
struct Team {
  std::vector<Worker> members;  ///< The objective of each is that of the team, which has room for all.
  VectorObjective& objective;
};

/// Solves B independent problems as solve_batch() does, but one call of the objective evaluates all that a team is
/// solving. A solver that has ended takes the next problem; if there are no more, the call becomes smaller.
///
/// Each team has its own share of the problems, so no row depends on the speed of the others. If an evaluation throws,
/// all problems in it end with that exception.
BatchOutcome solve_in_step(const std::vector<Team>& teams, const std::vector<BatchedInput>& inputs,
                           const BatchRows& rows, const BatchCallback& callback);

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_IN_STEP_H_
