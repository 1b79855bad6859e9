#include "driver/drive.h"

#include <chrono>

namespace tfminimize {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr auto kPollInterval = std::chrono::milliseconds(50);

/// An evaluation that was cancelled because of an interrupt ends as that interrupt, not as its own error.
double evaluate_or_interrupt(Objective& objective, Span<const double> x, Span<double> g, const InterruptPoll& poll) {
  try {
    return objective.evaluate(x, g);
  } catch (...) {
    if (poll) poll();
    throw;
  }
}

}  // namespace

Timing drive(Lbfgsb& solver, Span<const double> x, Span<double> g, Objective& objective, const Observer& on_iteration,
             const InterruptPoll& poll) {
  Timing timing;
  double f = 0;
  Clock::time_point mark = Clock::now();
  Clock::time_point next_poll = mark + kPollInterval;
  Request request = solver.request() == Request::kIteration ? solver.advance(f) : solver.request();
  while (request != Request::kStopped) {
    if (request == Request::kEvaluate) {
      const Clock::time_point start = Clock::now();
      timing.solver += Seconds(start - mark).count();
      f = evaluate_or_interrupt(objective, x, g, poll);
      mark = Clock::now();
      timing.evaluate += Seconds(mark - start).count();
      ++timing.evaluations;
      if (mark >= next_poll) {
        if (poll) poll();
        mark = Clock::now();
        next_poll = mark + kPollInterval;
      }
    } else if (on_iteration) {
      timing.solver += Seconds(Clock::now() - mark).count();
      if (on_iteration()) solver.stop();
      mark = Clock::now();
      if (solver.request() == Request::kStopped) break;
    }
    request = solver.advance(f);
  }
  timing.solver += Seconds(Clock::now() - mark).count();
  return timing;
}

}  // namespace tfminimize
