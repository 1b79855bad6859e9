#include "driver/drive_together.h"

#include <functional>

namespace tfminimize {
namespace {

void attempt_or_stop(const std::function<bool()>& callback, Reduced& objective) {
  objective.attempt([&] {
    if (callback && callback()) objective.wish_to_stop();
  });
}

/// The callbacks, which throw nothing any more: the objective takes it to the next round.
Callbacks noted(const Callbacks& callbacks, Reduced& objective, Span<const double> x) {
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
  if (callbacks.on_iteration || callbacks.on_shared) {
    result.on_iteration = [&, x] {
      attempt_or_stop(callbacks.on_iteration, objective);
      if (callbacks.on_shared) {
        objective.add_up(callbacks.shared, x);
        attempt_or_stop(callbacks.on_shared, objective);
      }
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
  const Timing timing = drive(solver, problem, objective, noted(callbacks, objective, problem.x), history);
  objective.conclude(problem.x);
  return timing;
}

}  // namespace tfminimize
