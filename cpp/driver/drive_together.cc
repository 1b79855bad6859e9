#include "driver/drive_together.h"

namespace tfminimize {
namespace {

/// The callbacks, which throw nothing any more: the objective takes it to the next round.
Callbacks noted(const Callbacks& callbacks, Reduced& objective) {
  Callbacks result = callbacks;
  if (callbacks.on_start) {
    result.on_start = [&](double f) { objective.attempt([&] { callbacks.on_start(f); }); };
  }
  if (callbacks.on_begin) {
    result.on_begin = [&] { objective.attempt(callbacks.on_begin); };
  }
  if (callbacks.on_evaluation) {
    result.on_evaluation = [&] { objective.attempt(callbacks.on_evaluation); };
  }
  if (callbacks.on_iteration) {
    result.on_iteration = [&] {
      objective.attempt([&] {
        if (callbacks.on_iteration()) objective.wish_to_stop();
      });
      return false;
    };
  }
  if (callbacks.poll) {
    result.poll = [&] { objective.attempt(callbacks.poll); };
  }
  return result;
}

}  // namespace

Timing drive_together(solvers::Solver& solver, const solvers::Problem& problem, Reduced& objective,
                      const Callbacks& callbacks, History* history) {
  objective.agree(problem.x);
  const Timing timing = drive(solver, problem, objective, noted(callbacks, objective), history);
  objective.conclude(problem.x);
  return timing;
}

}  // namespace tfminimize
