#include "tfe/faster_way.h"

#include <gtest/gtest.h>

#include <array>

namespace tfminimize::tfe {
namespace {

/// Does the work `count` times. Returns how often it took each way.
std::array<int, 2> work(FasterWay& ways, int count, double first, double second) {
  std::array<int, 2> taken{0, 0};
  for (int i = 0; i < count; ++i) {
    const std::size_t way = ways.choice();
    ++taken[way];
    ways.record(way == 0 ? first : second);
  }
  return taken;
}

TEST(FasterWay, TakesBothWaysInTurnAtFirst) {
  FasterWay ways;
  EXPECT_TRUE(ways.running());
  EXPECT_EQ(work(ways, 8, 1.0, 2.0), (std::array<int, 2>{4, 4}));
  EXPECT_FALSE(ways.running());
}

TEST(FasterWay, StaysWithTheFaster) {
  FasterWay ways;
  work(ways, 8, 2.0, 1.0);
  EXPECT_EQ(ways.winner(), 1U);
  EXPECT_EQ(work(ways, 500, 2.0, 1.0), (std::array<int, 2>{0, 500}));
}

TEST(FasterWay, PrefersTheFirstWhenBothAreEquallyFast) {
  FasterWay ways;
  work(ways, 8, 1.0, 1.0);
  EXPECT_EQ(ways.winner(), 0U);
}

TEST(FasterWay, DoesNotCountTheFirstCallOfEach) {
  FasterWay ways;
  ways.record(1e-9);
  ways.record(1e-3);
  work(ways, 6, 2.0, 1.0);
  EXPECT_EQ(ways.winner(), 1U);
}

TEST(FasterWay, TriesAgainAfterAWhile) {
  FasterWay ways;
  work(ways, 8, 1.0, 2.0);
  ASSERT_EQ(ways.winner(), 0U);
  const std::array<int, 2> taken = work(ways, 3000, 1.0, 0.1);
  EXPECT_EQ(ways.winner(), 1U);
  EXPECT_GT(taken[1], taken[0]);
}

TEST(FasterWay, OneDisturbedRaceDoesNotChangeTheWinner) {
  FasterWay ways;
  work(ways, 8 + 1000, 1.0, 2.0);
  ASSERT_TRUE(ways.running());
  work(ways, 8, 10.0, 2.0);  // another process had the processor
  EXPECT_EQ(ways.winner(), 0U);
}

}  // namespace
}  // namespace tfminimize::tfe
