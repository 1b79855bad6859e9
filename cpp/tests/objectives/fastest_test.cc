#include "objectives/fastest.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace tfminimize {
namespace {

/// f(x) = scale x² for x of one element, which takes so long. Counts what it is asked for.
class Parabola final : public Objective {
 public:
  double values(Span<const double> x, const Buffers& to) override {
    ++evaluations;
    if (fails) throw std::domain_error("it fails");
    std::this_thread::sleep_for(duration);
    if (!to.constraints.empty()) to.constraints[0] = x[0] - 1;
    return scale * x[0] * x[0];
  }
  void derivatives(Span<const double> x, const Buffers& to) override { to.gradient[0] = 2 * scale * x[0]; }
  bool is_joint() const override { return true; }
  void cancel() override { ++cancels; }
  void set_deadline(std::chrono::steady_clock::time_point time) override { deadline = time; }
  void begin_batch(const std::vector<BatchedInput>& inputs) override {
    position = inputs.empty() ? 0 : inputs[0].position;
    in_batch = true;
  }
  void select(std::size_t selected) override { problem = selected; }
  void end_batch() override { in_batch = false; }

  double scale = 1;
  std::chrono::microseconds duration{0};
  bool fails = false;
  int evaluations = 0;
  int cancels = 0;
  std::chrono::steady_clock::time_point deadline = kNever;
  bool in_batch = false;
  std::size_t position = 0;
  std::size_t problem = 0;
};

class FastestTest : public ::testing::Test {
 protected:
  FastestTest() {
    race->add();
    fastest.add(0, slow, 3);
    slow.duration = std::chrono::microseconds(200);
    race->attended();
  }

  void join() {
    race->add();
    fastest.add(1, fast, 1);
  }
  double evaluate() { return fastest.evaluate(x, buffers); }
  void evaluate_until_settled() {
    for (int i = 0; i < 1000 && race->winner(0) < 0; ++i) evaluate();
  }

  Parabola slow;
  Parabola fast;
  std::shared_ptr<Race> race = std::make_shared<Race>();
  Fastest fastest{race, 1e-8};
  std::array<double, 1> point{3};
  std::array<double, 1> gradient{0};
  std::array<double, 1> constraint{0};
  Span<const double> x{point.data(), 1};
  Buffers buffers{{gradient.data(), 1}, {constraint.data(), 1}, {}, 8};
};

TEST_F(FastestTest, EvaluatesTheOnlyWay) {
  EXPECT_EQ(evaluate(), 9);
  EXPECT_EQ(gradient[0], 6);
  EXPECT_EQ(slow.evaluations, 1);
}

TEST_F(FastestTest, TakesTheFasterWayThatComesLater) {
  evaluate();
  join();
  evaluate_until_settled();
  EXPECT_EQ(race->winner(0), 1);
  const int before = slow.evaluations;
  EXPECT_EQ(evaluate(), 9);
  EXPECT_EQ(slow.evaluations, before);
  EXPECT_EQ(fastest.last(), 1U);
}

TEST_F(FastestTest, WastesOneEvaluationForANewcomer) {
  join();
  const int points = 20;
  for (int i = 0; i < points; ++i) evaluate();
  EXPECT_EQ(slow.evaluations + fast.evaluations, points + 1);
}

TEST_F(FastestTest, AWayWithOtherResultsIsNeverTaken) {
  fast.scale = 2;
  join();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(evaluate(), 9);
    EXPECT_EQ(gradient[0], 6);
  }
  EXPECT_TRUE(race->is_refused(1));
  EXPECT_EQ(fast.evaluations, 5);
}

TEST_F(FastestTest, AWayThatFailsIsNeverTaken) {
  fast.fails = true;
  join();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(evaluate(), 9);
  EXPECT_TRUE(race->is_refused(1));
}

TEST_F(FastestTest, RoundingNearAMinimumIsNoDifference) {
  evaluate();
  point[0] = 1e-9;
  fast.scale = 3;
  join();
  evaluate();
  EXPECT_FALSE(race->is_refused(1));
  EXPECT_EQ(race->turn(0, 3).newcomer, std::nullopt);  // it has been checked
}

TEST_F(FastestTest, AnErrorOfTheKnownWayComesThrough) {
  slow.fails = true;
  join();
  EXPECT_THROW(evaluate(), std::domain_error);
  EXPECT_EQ(race->turn(0, 3).newcomer, 1U);  // it can still be checked
}

TEST_F(FastestTest, ValuesAloneChooseToo) {
  join();
  for (int i = 0; i < 200; ++i) EXPECT_EQ(fastest.values(x, buffers), 9);
  EXPECT_EQ(race->winner(static_cast<int>(Wanted::kValues)), 1);
}

TEST_F(FastestTest, AWayThatJoinsABatchGetsItsProblem) {
  BatchedInput input;
  input.position = 2;
  fastest.begin_batch({input});
  fastest.select(7);
  evaluate();
  EXPECT_EQ(slow.position, 5U);
  join();
  evaluate();
  EXPECT_TRUE(fast.in_batch);
  EXPECT_EQ(fast.position, 3U);
  EXPECT_EQ(fast.problem, 7U);
  fastest.end_batch();
  EXPECT_FALSE(slow.in_batch || fast.in_batch);
}

TEST_F(FastestTest, AWayThatJoinsLateHasTheDeadline) {
  evaluate();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::hours(1);
  fastest.set_deadline(deadline);
  join();
  evaluate();
  EXPECT_EQ(slow.deadline, deadline);
  EXPECT_EQ(fast.deadline, deadline);
}

TEST_F(FastestTest, CancelsAllWays) {
  join();
  fastest.cancel();
  EXPECT_EQ(slow.cancels, 1);
  EXPECT_EQ(fast.cancels, 1);
}

TEST_F(FastestTest, ManyThreadsShareOneRace) {
  std::array<Parabola, 8> parabolas;
  race->add();
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (std::size_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      Parabola& one = parabolas[2 * i];
      one.duration = std::chrono::microseconds(50);
      Fastest own(race, 1e-8);
      own.add(0, one, 0);
      own.add(1, parabolas[2 * i + 1], 0);
      std::array<double, 1> own_point{3};
      std::array<double, 1> own_gradient{0};
      for (int k = 0; k < 300; ++k) {
        EXPECT_EQ(own.evaluate({own_point.data(), 1}, {{own_gradient.data(), 1}, {}, {}, 8}), 9);
        EXPECT_EQ(own_gradient[0], 6);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(race->winner(0), 1);
}

}  // namespace
}  // namespace tfminimize
