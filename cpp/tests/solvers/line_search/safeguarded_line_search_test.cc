#include "solvers/line_search/safeguarded_line_search.h"

#include <gtest/gtest.h>

#include <limits>

namespace tfminimize::solvers {
namespace {

using Verdict = SafeguardedLineSearch::Verdict;

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

SafeguardedLineSearch search_from(double f, double slope, double first_step) {
  return {{0, f, slope}, first_step, {}, GradientCheck(kEpsilon, f)};
}

TEST(SafeguardedLineSearchTest, FiniteTrialsAreThoseOfMoreAndThuente) {
  MoreThuenteLineSearch plain({0, 1, -2}, 8, {});
  SafeguardedLineSearch search = search_from(1, -2, 8);
  Verdict verdict = Verdict::kTryNext;
  while (verdict == Verdict::kTryNext) {
    const double t = search.step();
    ASSERT_EQ(t, plain.step());
    verdict = search.advance((t - 1) * (t - 1), 2 * (t - 1));
    ASSERT_EQ(verdict, plain.advance((t - 1) * (t - 1), 2 * (t - 1)));
  }
  EXPECT_EQ(verdict, Verdict::kConverged);
  EXPECT_FALSE(search.gradient_is_wrong());
}

TEST(SafeguardedLineSearchTest, TrialThatIsNotFiniteIsFollowedByOneAtAQuarterOfTheStep) {
  for (const double bad : {kInf, -kInf, kNaN}) {
    SafeguardedLineSearch search = search_from(1, -1, 8);
    EXPECT_EQ(search.advance(bad, -1), Verdict::kTryNext);
    EXPECT_EQ(search.step(), 2) << bad;
    EXPECT_EQ(search.advance(0, bad), Verdict::kTryNext);
    EXPECT_EQ(search.step(), 0.5) << bad;
    EXPECT_EQ(search.num_trials(), 2);
    EXPECT_FALSE(search.gradient_is_wrong());
  }
}

TEST(SafeguardedLineSearchTest, WrongSignOfTheGradientIsSeen) {
  SafeguardedLineSearch search = search_from(3, -1, 1);
  for (int k = 0; k < 20 && search.step() > 0 && !search.gradient_is_wrong(); ++k) {
    search.advance(3 + search.step(), -1);
  }
  EXPECT_TRUE(search.gradient_is_wrong());
}

}  // namespace
}  // namespace tfminimize::solvers
