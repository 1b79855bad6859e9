#include "objectives/limited.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace tfminimize {
namespace {

using Clock = std::chrono::steady_clock;

/// Takes until it is cancelled, if it is slow.
class Cancellable final : public Objective {
 public:
  double values(Span<const double> x, const Buffers& /*to*/) override {
    wait();
    return x[0];
  }
  void derivatives(Span<const double> /*x*/, const Buffers& to) override {
    wait();
    to.gradient[0] = 1;
  }
  bool is_joint() const override { return false; }
  void cancel() override { is_cancelled_ = true; }

  bool is_slow = false;
  bool is_wrong = false;

 private:
  void wait() {
    if (is_wrong) throw std::domain_error("wrong");
    is_cancelled_ = false;
    while (is_slow) {
      if (is_cancelled_) throw std::runtime_error("cancelled");
      std::this_thread::yield();
    }
  }

  std::atomic<bool> is_cancelled_{false};
};

class LimitedTest : public ::testing::Test {
 protected:
  void all_throw_deadline_passed() {
    EXPECT_THROW(limited.evaluate(x, buffers), DeadlinePassed);
    EXPECT_THROW(limited.values(x, buffers), DeadlinePassed);
    EXPECT_THROW(limited.derivatives(x, buffers), DeadlinePassed);
  }

  Cancellable inner;
  Limited limited{inner};
  std::array<double, 1> value{3};
  std::array<double, 1> gradient{0};
  Span<const double> x{value.data(), 1};
  Buffers buffers{{gradient.data(), 1}, {}, {}, 8};
};

TEST_F(LimitedTest, EvaluatesAsTheInnerObjective) {
  limited.set_deadline(Clock::now() + std::chrono::hours(1));
  EXPECT_EQ(limited.evaluate(x, buffers), 3);
  EXPECT_EQ(gradient[0], 1);
  EXPECT_FALSE(limited.is_joint());
}

TEST_F(LimitedTest, EveryEvaluationEndsAtTheDeadline) {
  inner.is_slow = true;
  limited.set_deadline(Clock::now() + std::chrono::milliseconds(5));
  all_throw_deadline_passed();  // the second and third begin after it
}

TEST_F(LimitedTest, ErrorBeforeTheDeadlineComesThrough) {
  inner.is_wrong = true;
  limited.set_deadline(Clock::now() + std::chrono::hours(1));
  EXPECT_THROW(limited.values(x, buffers), std::domain_error);
}

TEST_F(LimitedTest, NothingIsCancelledOnceTheDeadlineIsTakenBack) {
  inner.is_slow = true;
  limited.set_deadline(Clock::now());
  all_throw_deadline_passed();
  inner.is_slow = false;
  limited.set_deadline(kNever);
  EXPECT_EQ(limited.evaluate(x, buffers), 3);
  inner.is_wrong = true;
  EXPECT_THROW(limited.values(x, buffers), std::domain_error);
}

TEST_F(LimitedTest, CallerCanCancelToo) {
  inner.is_slow = true;
  limited.set_deadline(Clock::now() + std::chrono::hours(1));
  std::atomic<bool> has_ended{false};
  std::thread other([&] {
    while (!has_ended) limited.cancel();
  });
  EXPECT_THROW(limited.values(x, buffers), std::runtime_error);
  has_ended = true;
  other.join();
}

}  // namespace
}  // namespace tfminimize
