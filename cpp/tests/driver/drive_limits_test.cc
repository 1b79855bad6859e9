#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "driver/drive.h"
#include "objectives/host_objective.h"
#include "tests/driver/drive_fixture.h"

namespace tfminimize {
namespace {

using testing::Driven;
using testing::kinds;
using testing::name_of;
using testing::Solve;

class DriveLimits : public Driven {};

INSTANTIATE_TEST_SUITE_P(Kinds, DriveLimits, kinds(), name_of);

/// Evaluates an objective until the deadline.
class Late final : public Objective {
 public:
  explicit Late(Objective& inner) : inner_(inner) {}

  double evaluate(Span<const double> x, const Buffers& to) override {
    end();
    return inner_.evaluate(x, to);
  }
  double values(Span<const double> x, const Buffers& to) override {
    end();
    return inner_.values(x, to);
  }
  void derivatives(Span<const double> x, const Buffers& to) override {
    end();
    inner_.derivatives(x, to);
  }
  bool is_joint() const override { return inner_.is_joint(); }
  void set_deadline(std::chrono::steady_clock::time_point deadline) override { deadline_ = deadline; }

  std::int64_t last = 0;  ///< The number of the evaluation that is to take until the deadline.
  bool has_ended = false;
  bool has_deadline() const { return deadline_ != kNever; }

 private:
  void end() {
    if (++count_ != last) return;
    ASSERT_TRUE(has_deadline());
    std::this_thread::sleep_until(deadline_);
    has_ended = true;
    throw DeadlinePassed();
  }

  Objective& inner_;
  std::int64_t count_ = 0;
  std::chrono::steady_clock::time_point deadline_ = kNever;
};

TEST_P(DriveLimits, DeadlineWithinAnEvaluationEndsAtTheLastIterate) {
  for (const std::int64_t last : {3, 4, 5}) {
    Late late(objective());
    late.last = last;
    Solve solve(GetParam(), {1e-12, 1000, 0.2});
    std::vector<double> iterate = solve.x();
    const Timing timing = solve.drive_with(late, [&] {
      iterate = solve.x();
      return false;
    });
    EXPECT_TRUE(late.has_ended);
    EXPECT_FALSE(late.has_deadline());
    EXPECT_NE(std::string(solve.solver->message()).find("ime limit"), std::string::npos) << solve.solver->message();
    EXPECT_EQ(solve.x(), iterate);
    if (solve.solver->has_derivatives()) {
      const std::vector<double> found(solve.problem.gradient.begin(), solve.problem.gradient.end());
      objective().derivatives(solve.problem.x, buffers_of(solve.problem));
      EXPECT_EQ(std::vector<double>(solve.problem.gradient.begin(), solve.problem.gradient.end()), found);
    }
    EXPECT_GE(timing.evaluate, 0.1);
  }
}

TEST_P(DriveLimits, StartIsAlwaysEvaluated) {
  class Start final : public Objective {
   public:
    explicit Start(Objective& inner) : inner_(inner) {}
    double evaluate(Span<const double> x, const Buffers& to) override { return inner_.evaluate(x, to); }
    double values(Span<const double> x, const Buffers& to) override { return inner_.values(x, to); }
    void derivatives(Span<const double> x, const Buffers& to) override { inner_.derivatives(x, to); }
    bool is_joint() const override { return inner_.is_joint(); }
    void set_deadline(std::chrono::steady_clock::time_point deadline) override { deadlines.push_back(deadline); }
    std::vector<std::chrono::steady_clock::time_point> deadlines;

   private:
    Objective& inner_;
  };
  Start start(objective());
  Solve solve(GetParam(), {1e-12, 1000, 0});
  solve.drive_with(start);
  EXPECT_EQ(solve.solver->nfev(), 1);
  EXPECT_NE(start.deadlines.front(), kNever);  // after the start
  EXPECT_EQ(start.deadlines.back(), kNever);
  start.deadlines.clear();
  Solve(GetParam()).drive_with(start);
  EXPECT_TRUE(start.deadlines.empty());
}

TEST_P(DriveLimits, PollsAboutEvery50Milliseconds) {
  HostObjective function(
      [&](Span<const double> x, const Buffers& to) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        return objective().values(x, to);
      },
      [&](Span<const double> x, const Buffers& to) { objective().derivatives(x, to); });
  Solve solve(GetParam(), {0});
  const auto start = std::chrono::steady_clock::now();
  double seconds = 0;
  EXPECT_THROW(solve.poll_with(function,
                               [&] {
                                 seconds =
                                     std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
                                 throw std::domain_error("interrupt");
                               }),
               std::domain_error);
  EXPECT_GE(seconds, 0.05);
}

TEST(DriveStopwatch, PollsByTheClockWhereEvaluationsBecomeLong) {
  constexpr int kUnread = 4;  // evaluations between two readings of the clock
  for (int num_short = 1; num_short <= kUnread; ++num_short) {
    int polls = 0;
    const InterruptPoll poll = [&] { ++polls; };
    Stopwatch stopwatch(poll);
    for (int i = 0; i < num_short; ++i) stopwatch.evaluate([] {});
    const auto evaluate = [&] { stopwatch.evaluate([] { std::this_thread::sleep_for(2 * kPollInterval); }); };
    int num_long = 0;
    for (; polls == 0 && num_long < kUnread; ++num_long) evaluate();
    EXPECT_EQ(polls, 1) << "after " << num_short << " short evaluations";
    evaluate();  // from now on each one is timed
    EXPECT_EQ(polls, 2);
  }
}

TEST_P(DriveLimits, QuickSolveIsNotPolled) {
  Solve solve(GetParam(), {-1, 2});
  solve.poll_with(objective(), [] { throw std::domain_error("interrupt"); });
  EXPECT_EQ(solve.solver->nit(), 2);
}

}  // namespace
}  // namespace tfminimize
