#ifndef TFMINIMIZE_OBJECTIVES_LIMITED_H_
#define TFMINIMIZE_OBJECTIVES_LIMITED_H_

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "objectives/objective.h"
#include "solvers/span.h"

namespace tfminimize {

/// Cancels the evaluations of an objective from a point in time on, while it lives.
class CancelTimer {
 public:
  CancelTimer(Objective& objective, std::chrono::steady_clock::time_point time);
  ~CancelTimer();
  CancelTimer(const CancelTimer&) = delete;
  CancelTimer& operator=(const CancelTimer&) = delete;

  /// Whether it has begun to cancel.
  bool has_fired();

 private:
  void wait(Objective& objective, std::chrono::steady_clock::time_point time);

  std::mutex mutex_;  ///< Guards the two flags.
  std::condition_variable ended_;
  bool has_ended_ = false;
  bool has_fired_ = false;
  std::thread thread_;
};

/// An objective whose evaluations end at the deadline, because a thread then cancels them.
class Limited final : public Objective {
 public:
  /// `inner` must outlive the object.
  explicit Limited(Objective& inner) : inner_(inner) {}

  double evaluate(Span<const double> x, const Buffers& to) override {
    return until_deadline([&] { return inner_.evaluate(x, to); });
  }
  double values(Span<const double> x, const Buffers& to) override {
    return until_deadline([&] { return inner_.values(x, to); });
  }
  void derivatives(Span<const double> x, const Buffers& to) override {
    until_deadline([&] { inner_.derivatives(x, to); });
  }
  bool is_joint() const override { return inner_.is_joint(); }
  Span<const double> sums() const override { return inner_.sums(); }
  void cancel() override { inner_.cancel(); }
  void set_deadline(std::chrono::steady_clock::time_point deadline) override {
    timer_.reset();
    if (deadline != kNever) timer_.emplace(inner_, deadline);
  }

 private:
  template <typename Evaluate>
  auto until_deadline(const Evaluate& evaluate) -> decltype(evaluate()) {
    try {
      return evaluate();
    } catch (...) {
      if (timer_ && timer_->has_fired()) throw DeadlinePassed();
      throw;
    }
  }

  Objective& inner_;
  std::optional<CancelTimer> timer_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_LIMITED_H_
