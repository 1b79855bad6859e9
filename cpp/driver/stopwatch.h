#ifndef TFMINIMIZE_DRIVER_STOPWATCH_H_
#define TFMINIMIZE_DRIVER_STOPWATCH_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <exception>
#include <functional>
#include <limits>

#include "objectives/exception_of.h"

namespace tfminimize {

/// How a solve spent its time, in seconds, without callbacks and polls.
struct Timing {
  double evaluate = 0;           ///< In the objective.
  double first = 0;              ///< In the first evaluation, which may compile the function; part of `evaluate`.
  double solver = 0;             ///< In the solver.
  std::int64_t evaluations = 0;  ///< Of values, of derivatives, or of both at once.

  /// Adds another solve, whose first evaluation counts as any other.
  Timing& operator+=(const Timing& other) {
    evaluate += other.evaluate;
    solver += other.solver;
    evaluations += other.evaluations;
    return *this;
  }
};

/// Called about every 50 ms, between two evaluations. It may throw to end the solve.
using InterruptPoll = std::function<void()>;

inline constexpr auto kPollInterval = std::chrono::milliseconds(50);

/// Times a solve. It runs the evaluations and callbacks, and polls.
///
/// Reading the clock twice would take as long as a short evaluation. So if evaluations follow each other quickly, it
/// times only one in several, which stands for the others. It checks more often whether a poll is due or the deadline
/// has passed, so that evaluations that suddenly become long delay these by only a few of them.
class Stopwatch {
 public:
  /// The solve is late once `seconds` have passed.
  explicit Stopwatch(const InterruptPoll& poll, double seconds = std::numeric_limits<double>::infinity())
      : poll_(poll), start_(Clock::now()), deadline_(after(seconds)), begin_(start_) {
    mark(start_);
    next_poll_ = next_look();
  }

  /// Times an evaluation. If an interrupt has cancelled it, the interrupt is thrown, not the error of the evaluation.
  template <typename Evaluate>
  void evaluate(const Evaluate& evaluate) {
    ++evaluations_;
    if (untimed_left_ > 0) {
      --untimed_left_;
      call(evaluate);
      if (untimed_left_ % kUnread == 0 && coarse_now() >= next_poll_) {
        mark(Clock::now());
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
    mark(end);
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

  /// When the solve becomes late; time_point::max() for never.
  std::chrono::steady_clock::time_point deadline() const { return deadline_; }

  /// Whether the deadline had passed when the clock was last read.
  bool is_late() const { return is_late_; }

  /// Since the beginning, callbacks and polls included.
  double seconds() const { return Seconds(Clock::now() - start_).count(); }

  /// The same when the clock was last read: at the end of the last evaluation, or of one a few short ones ago.
  double seconds_at_mark() const { return Seconds(mark_ - start_).count(); }

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
      std::chrono::microseconds(50);       ///< From the end of one timed evaluation to the next.
  static constexpr int kUntimed = 15;      ///< Evaluations that a short one stands for.
  static constexpr int kUnread = 4;        ///< Evaluations between two readings of the coarse clock.
  static constexpr double kForever = 1e9;  ///< Seconds; more would overflow the clock.

  Clock::time_point after(double seconds) const {
    if (!(seconds < kForever)) return Clock::time_point::max();
    return start_ + std::chrono::duration_cast<Clock::duration>(Seconds(std::max(seconds, 0.0)));
  }

  /// Notes a reading of the clock.
  void mark(Clock::time_point now) {
    mark_ = now;
    is_late_ = now >= deadline_;
  }

  /// The next poll, or the deadline if that comes first.
  Clock::time_point next_look() const {
    const Clock::time_point next = mark_ + kPollInterval;
    return is_late_ ? next : std::min(next, deadline_);
  }

  template <typename Evaluate>
  void call(const Evaluate& evaluate) {
    const std::exception_ptr error = exception_of(evaluate);
    if (!error) return;
    const Clock::time_point start = mark_;
    mark(Clock::now());
    long_ += mark_ - start;
    ++num_long_;
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
    next_poll_ = next_look();
  }

  /// Leaves the time since `start` out of the count.
  void leave_out(Clock::time_point start) {
    mark(Clock::now());
    begin_ += mark_ - start;
  }

  const InterruptPoll& poll_;
  const Clock::time_point start_;
  const Clock::time_point deadline_;
  Clock::time_point begin_;  ///< Later than the start by the time that does not count.
  Clock::time_point mark_;   ///< The last reading of the clock.
  bool is_late_ = false;
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
