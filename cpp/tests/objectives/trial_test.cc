#include "objectives/trial.h"

#include <gtest/gtest.h>

#include <array>

namespace tfminimize {
namespace {

/// Works `count` times, and returns how often each way was taken.
std::array<int, 2> work(Trial& trial, int count, double first, double second) {
  std::array<int, 2> taken{0, 0};
  for (int i = 0; i < count; ++i) {
    const std::size_t way = trial.choice();
    ++taken[way];
    trial.record(way == 0 ? first : second);
  }
  return taken;
}

TEST(Trial, TakesBothWaysInTurnAtFirst) {
  Trial trial;
  EXPECT_TRUE(trial.running());
  EXPECT_EQ(work(trial, 8, 1.0, 2.0), (std::array<int, 2>{4, 4}));
  EXPECT_FALSE(trial.running());
}

TEST(Trial, StaysWithTheFaster) {
  Trial trial;
  work(trial, 8, 2.0, 1.0);
  EXPECT_EQ(trial.winner(), 1U);
  EXPECT_EQ(work(trial, 500, 2.0, 1.0), (std::array<int, 2>{0, 500}));
}

TEST(Trial, PrefersTheFirstWhenBothAreEquallyFast) {
  Trial trial;
  work(trial, 8, 1.0, 1.0);
  EXPECT_EQ(trial.winner(), 0U);
}

TEST(Trial, DoesNotCountTheFirstCallOfEach) {
  Trial trial;
  trial.record(1e-9);
  trial.record(1e-3);
  work(trial, 6, 2.0, 1.0);
  EXPECT_EQ(trial.winner(), 1U);
}

TEST(Trial, TriesAgainAfterAWhile) {
  Trial trial;
  work(trial, 8, 1.0, 2.0);
  ASSERT_EQ(trial.winner(), 0U);
  const std::array<int, 2> taken = work(trial, 3000, 1.0, 0.1);
  EXPECT_EQ(trial.winner(), 1U);
  EXPECT_GT(taken[1], taken[0]);
}

TEST(Trial, OneDisturbedTrialDoesNotChangeTheWinner) {
  Trial trial;
  work(trial, 8 + 1000, 1.0, 2.0);
  ASSERT_TRUE(trial.running());
  work(trial, 8, 10.0, 2.0);  // somebody else had the processor
  EXPECT_EQ(trial.winner(), 0U);
}

}  // namespace
}  // namespace tfminimize
