#ifndef TFMINIMIZE_DRIVER_LOOP_H_
#define TFMINIMIZE_DRIVER_LOOP_H_

#include <chrono>
#include <cstdint>
#include <functional>

#include "solvers/status.h"

namespace tfminimize {

/// Where the time of a solve went, in seconds; observers and polls count for neither.
struct Timing {
  double evaluate = 0;           ///< In the objective.
  double solver = 0;             ///< In the solver.
  std::int64_t evaluations = 0;  ///< Of the objective: values, derivatives, or both at once.
};

/// Called after every iteration; true asks the solver to stop.
using Observer = std::function<bool()>;

/// Called every 50 ms or so, between two evaluations; throws to end the solve.
using InterruptPoll = std::function<void()>;

inline constexpr auto kPollInterval = std::chrono::milliseconds(50);

/// Does the parts of a solve that are not the solver's, and times all.
class Stopwatch {
 public:
  explicit Stopwatch(const InterruptPoll& poll) : poll_(poll), mark_(Clock::now()), next_poll_(mark_ + kPollInterval) {}

  /// An evaluation that was cancelled because of an interrupt ends as that interrupt, not as its own error.
  template <typename Evaluate>
  void evaluate(const Evaluate& evaluate) {
    const Clock::time_point start = Clock::now();
    timing_.solver += Seconds(start - mark_).count();
    try {
      evaluate();
    } catch (...) {
      if (poll_) poll_();
      throw;
    }
    mark_ = Clock::now();
    timing_.evaluate += Seconds(mark_ - start).count();
    ++timing_.evaluations;
    if (mark_ >= next_poll_) {
      if (poll_) poll_();
      mark_ = Clock::now();
      next_poll_ = mark_ + kPollInterval;
    }
  }

  bool observe(const Observer& observer) {
    timing_.solver += Seconds(Clock::now() - mark_).count();
    const bool stop = observer();
    mark_ = Clock::now();
    return stop;
  }

  Timing finish() {
    timing_.solver += Seconds(Clock::now() - mark_).count();
    return timing_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;

  const InterruptPoll& poll_;
  Timing timing_;
  Clock::time_point mark_;
  Clock::time_point next_poll_;
};

/// The loop of all solvers: evaluate(request) does what the solver asks for, advance() hands it over.
template <typename Solver, typename Evaluate, typename Advance>
void run(Solver& solver, Stopwatch& stopwatch, const Observer& on_iteration, const Evaluate& evaluate,
         const Advance& advance) {
  Request request = solver.request() == Request::kIteration ? advance() : solver.request();
  while (request != Request::kStopped) {
    if (request != Request::kIteration) {
      stopwatch.evaluate([&] { evaluate(request); });
    } else if (on_iteration) {
      if (stopwatch.observe(on_iteration)) solver.stop();
      if (solver.request() == Request::kStopped) break;
    }
    request = advance();
  }
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_LOOP_H_
