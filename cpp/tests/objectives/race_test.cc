#include "objectives/race.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace tfminimize {
namespace {

constexpr std::size_t kBoth = Race::event(Wanted::kBoth, false);
constexpr std::size_t kValues = Race::event(Wanted::kValues, false);
constexpr std::size_t kInBatch = Race::event(Wanted::kBoth, true);
constexpr std::uint32_t kAll = ~std::uint32_t{0};

class RaceTest : public ::testing::Test {
 protected:
  RaceTest() { race.add(); }

  /// Takes a turn in which each way takes as long as it says, and newcomers agree.
  std::size_t turn(std::size_t event, std::initializer_list<double> seconds) {
    const Race::Turn now = race.turn(event, kAll);
    race.record(event, now.way, seconds.begin()[now.way]);
    if (now.newcomer) {
      race.record(event, *now.newcomer, seconds.begin()[*now.newcomer]);
      race.judge(*now.newcomer, Race::Verdict::kAgrees);
    }
    return now.way;
  }

  int turns_until_settled(std::size_t event, std::initializer_list<double> seconds) {
    int turns = 0;
    for (; race.winner(event) < 0 && turns < 1000; ++turns) turn(event, seconds);
    return turns;
  }

  Race race;
};

TEST_F(RaceTest, IsDueAfterTheFirstEvaluation) {
  EXPECT_FALSE(race.is_due());
  turn(kBoth, {1e-6});
  EXPECT_TRUE(race.is_due());
  race.attended();
  EXPECT_FALSE(race.is_due());
}

TEST_F(RaceTest, IsDueOnceEvaluationsHaveTakenLongEnough) {
  turn(kBoth, {1.0});
  race.attended();
  race.wait(2.5);
  turn(kBoth, {1.0});
  EXPECT_FALSE(race.is_due());
  turn(kBoth, {1.0});
  EXPECT_TRUE(race.is_due());
}

TEST_F(RaceTest, IsNotSettledWhileAnotherWayMayBeWorthATry) {
  turn(kBoth, {1e-6});
  EXPECT_LT(race.winner(kBoth), 0);
  race.attended();
  EXPECT_EQ(race.winner(kBoth), 0);
}

TEST_F(RaceTest, TheFasterWayWins) {
  race.attended();
  race.add();
  turns_until_settled(kBoth, {1.1e-4, 1e-4});
  EXPECT_EQ(race.winner(kBoth), 1);
  race.add();
  EXPECT_LT(race.winner(kBoth), 0);
  turns_until_settled(kBoth, {1.1e-4, 1e-4, 1.05e-4});
  EXPECT_EQ(race.winner(kBoth), 1);
}

TEST_F(RaceTest, AWayThatIsClearlySlowerIsEvaluatedOnce) {
  race.attended();
  race.add();
  EXPECT_EQ(turns_until_settled(kBoth, {0.01, 1.0}), 1);
  EXPECT_EQ(race.winner(kBoth), 0);
}

TEST_F(RaceTest, ASlowFirstEvaluationOfAFastWayIsForgiven) {
  race.attended();
  race.add();
  turn(kBoth, {1e-4, 4e-3});
  turns_until_settled(kBoth, {1e-4, 5e-5});
  EXPECT_EQ(race.winner(kBoth), 1);
}

TEST_F(RaceTest, TakesFewerTurnsIfTheyAreLong) {
  race.attended();
  race.add();
  const int turns_of_short = turns_until_settled(kBoth, {1e-6, 1e-6});
  race.add();
  race.refuse(1);
  EXPECT_GT(turns_of_short, 3 * turns_until_settled(kBoth, {1.0, 1.0, 1.0}));
}

TEST_F(RaceTest, EachEventHasAWinnerOfItsOwn) {
  race.attended();
  race.add();
  turns_until_settled(kBoth, {1.0, 0.1});
  turns_until_settled(kValues, {0.1, 1.0});
  turns_until_settled(kInBatch, {0.1, 1.0});
  EXPECT_EQ(race.winner(kBoth), 1);
  EXPECT_EQ(race.winner(kValues), 0);
  EXPECT_EQ(race.winner(kInBatch), 0);
  EXPECT_EQ(race.needed(false), 3U);
  EXPECT_EQ(race.needed(true), 1U);
}

TEST_F(RaceTest, OnlyUsableWaysGetATurn) {
  race.attended();
  race.add();
  race.add();
  for (int i = 0; i < 100; ++i) {
    const Race::Turn now = race.turn(kBoth, 0b101);
    EXPECT_NE(now.way, 1U);
    EXPECT_NE(now.newcomer.value_or(2), 1U);
    if (now.newcomer) race.judge(*now.newcomer, Race::Verdict::kAgrees);
    race.record(kBoth, now.way, 1.0);
  }
}

TEST_F(RaceTest, OneObjectiveAtATimeChecksANewcomer) {
  race.add();
  EXPECT_EQ(race.turn(kBoth, kAll).newcomer, 1U);
  EXPECT_FALSE(race.turn(kBoth, kAll).newcomer);
  race.judge(1, Race::Verdict::kUndecided);
  EXPECT_EQ(race.turn(kBoth, kAll).newcomer, 1U);
}

TEST_F(RaceTest, DerivativesAloneCheckNobody) {
  race.add();
  EXPECT_FALSE(race.turn(Race::event(Wanted::kDerivatives, false), kAll).newcomer);
}

TEST_F(RaceTest, AWayThatKeepsDifferingIsRefused) {
  race.attended();
  race.add();
  int checks = 0;
  for (; !race.is_refused(1) && checks < 100; ++checks) {
    const Race::Turn now = race.turn(kBoth, kAll);
    race.record(kBoth, now.way, 1.0);
    ASSERT_TRUE(now.newcomer);
    race.judge(*now.newcomer, Race::Verdict::kDiffers);
  }
  EXPECT_EQ(checks, 5);
  EXPECT_EQ(race.winner(kBoth), 0);
}

TEST_F(RaceTest, AWayThatCannotBeComparedIsRefusedInTheEnd) {
  race.add();
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(race.is_refused(1));
    race.judge(1, Race::Verdict::kUndecided);
  }
  EXPECT_TRUE(race.is_refused(1));
}

TEST_F(RaceTest, ReportsTheShortestTimeOfEachWay) {
  race.attended();
  race.add();
  race.add();
  turn(kBoth, {0.1, 0.02, 1.0});
  const Race::Report report = race.report(false);
  EXPECT_EQ(report.way, 1U);
  EXPECT_FALSE(report.is_settled);
  EXPECT_EQ(report.seconds[0], 0.1);
  EXPECT_EQ(report.seconds[1], 0.02);
  EXPECT_TRUE(std::isinf(report.seconds[2]));
}

TEST_F(RaceTest, HasRoomForEightWays) {
  for (std::size_t i = 1; i < Race::kMostWays; ++i) race.add();
  EXPECT_THROW(race.add(), std::length_error);
}

}  // namespace
}  // namespace tfminimize
