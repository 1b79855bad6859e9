#ifndef TFMINIMIZE_DRIVER_STOPWATCH_H_
#define TFMINIMIZE_DRIVER_STOPWATCH_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <exception>
#include <functional>

#include "driver/exception_of.h"

namespace tfminimize {

/// How a solve spent its time, in seconds, without callbacks and polls.
struct Timing {
  double evaluate = 0;           ///< In the objective.
  double first = 0;              ///< In the first evaluation, which may compile the function; part of `evaluate`.
  double solver = 0;             ///< In the solver.
  std::int64_t evaluations = 0;  ///< Of values, of derivatives, or of both at once.
};

/// Called about every 50 ms, between two evaluations. It may throw to end the solve.
using InterruptPoll = std::function<void()>;

inline constexpr auto kPollInterval = std::chrono::milliseconds(50);

/// Times a solve. It runs the evaluations and callbacks, and polls.
///
/// Reading the clock twice would take as long as a short evaluation. So if evaluations follow each other quickly, it
/// times only one in several, which stands for the others. It checks more often whether a poll is due, so that
/// evaluations that suddenly become long delay the poll by only a few of them.
class Stopwatch {
 public:
  explicit Stopwatch(const InterruptPoll& poll)
      : poll_(poll), begin_(Clock::now()), mark_(begin_), next_poll_(begin_ + kPollInterval) {}

  /// Times an evaluation. If an interrupt has cancelled it, the interrupt is thrown, not the error of the evaluation.
  template <typename Evaluate>
  void evaluate(const Evaluate& evaluate) {
    ++evaluations_;
    if (untimed_left_ > 0) {
      --untimed_left_;
      call(evaluate);
      if (untimed_left_ % kUnread == 0 && coarse_now() >= next_poll_) {
        mark_ = Clock::now();
        untimed_left_ = 0;
        poll_outside();
      }
      return;
    }
    const Clock::time_point start = Clock::now();
    call(evaluate);
    const Clock::time_point end = Clock::now();
    if (evaluations_ == 1) first_ = end - start;
    const bool is_short = end - start < kShortEvaluation && end - mark_ < kShortRound;
    mark_ = end;
    if (is_short) {
      untimed_left_ = kUntimed;
      short_ += end - start;
      ++num_short_;
    } else {
      long_ += end - start;
      ++num_long_;
    }
    if (end >= next_poll_) poll_outside();
  }

  /// Runs a callback, whose time does not count.
  template <typename Callback>
  void call_back(const Callback& callback) {
    const Clock::time_point start = Clock::now();
    callback();
    leave_out(start);
  }

  Timing finish() const {
    const double total = Seconds(Clock::now() - begin_).count();
    double spent = Seconds(long_).count();
    if (num_short_ > 0) {
      spent +=
          Seconds(short_).count() * static_cast<double>(evaluations_ - num_long_) / static_cast<double>(num_short_);
    }
    Timing timing;
    timing.evaluate = std::min(spent, total);
    timing.first = std::min(Seconds(first_).count(), timing.evaluate);
    timing.solver = total - timing.evaluate;
    timing.evaluations = evaluations_;
    return timing;
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;

  static constexpr auto kShortEvaluation = std::chrono::microseconds(1);
  static constexpr auto kShortRound =
      std::chrono::microseconds(50);   ///< From the end of one timed evaluation to the next.
  static constexpr int kUntimed = 15;  ///< Evaluations that a short one stands for.
  static constexpr int kUnread = 4;    ///< Evaluations between two readings of the coarse clock.

  template <typename Evaluate>
  void call(const Evaluate& evaluate) {
    const std::exception_ptr error = exception_of(evaluate);
    if (!error) return;
    if (poll_) poll_();
    std::rethrow_exception(error);
  }

  /// The time of the kernel's last tick, a few milliseconds ago; five times as fast as reading the exact time.
  static Clock::time_point coarse_now() {
#ifdef CLOCK_MONOTONIC_COARSE
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return Clock::time_point(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
#else
    return Clock::now();
#endif
  }

  void poll_outside() {
    const Clock::time_point start = mark_;
    if (poll_) poll_();
    leave_out(start);
    next_poll_ = mark_ + kPollInterval;
  }

  /// Leaves the time since `start` out of the count.
  void leave_out(Clock::time_point start) {
    mark_ = Clock::now();
    begin_ += mark_ - start;
  }

  const InterruptPoll& poll_;
  Clock::time_point begin_;  ///< Later than the true begin by the time that does not count.
  Clock::time_point mark_;   ///< The last reading of the clock.
  Clock::time_point next_poll_;
  Clock::duration first_{};
  Clock::duration short_{};  ///< Of the timed short evaluations.
  Clock::duration long_{};   ///< Of the long ones.
  std::int64_t num_short_ = 0;
  std::int64_t num_long_ = 0;
  std::int64_t evaluations_ = 0;
  int untimed_left_ = 0;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_STOPWATCH_H_
