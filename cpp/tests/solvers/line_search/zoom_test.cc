#include "solvers/line_search/zoom.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "solvers/line_search/wolfe_line_search.h"

namespace tfminimize::solvers {
namespace {

constexpr double kC1 = 1e-4;
constexpr double kC2 = 0.9;
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// φ and φ'.
struct Line {
  std::function<double(double)> f;
  std::function<double(double)> slope;

  LinePoint at(double t) const { return {t, f(t), slope(t)}; }
};

struct Outcome {
  ZoomLineSearch::Verdict verdict = ZoomLineSearch::Verdict::kTryNext;
  double step = 0;
  std::vector<double> tried;
};

template <typename Search>
Outcome run(Search search, const Line& line) {
  Outcome outcome;
  while (outcome.verdict == ZoomLineSearch::Verdict::kTryNext && outcome.tried.size() < 200) {
    outcome.step = search.step();
    outcome.tried.push_back(outcome.step);
    const double f = line.f(outcome.step);
    // A slope that is not needed must not matter.
    outcome.verdict = search.advance(f, search.needs_slope(f) ? line.slope(outcome.step) : kNaN);
  }
  return outcome;
}

ZoomLineSearch zoom(const Line& line, double first_step, double c2 = kC2) { return {line.at(0), first_step, kC1, c2}; }

const Line kParabola{[](double t) { return (t - 1) * (t - 1); }, [](double t) { return 2 * (t - 1); }};

bool satisfies_wolfe(const Line& line, double t, double c2 = kC2) {
  return line.f(t) <= line.f(0) + kC1 * t * line.slope(0) && std::abs(line.slope(t)) <= -c2 * line.slope(0);
}

TEST(ZoomLineSearchTest, AcceptsAFirstStepThatIsGood) {
  const Outcome outcome = run(zoom(kParabola, 0.9), kParabola);
  EXPECT_EQ(outcome.verdict, ZoomLineSearch::Verdict::kConverged);
  EXPECT_EQ(outcome.tried, std::vector<double>{0.9});
}

TEST(ZoomLineSearchTest, DoublesAStepThatIsTooShort) {
  const Outcome outcome = run(zoom(kParabola, 0.01, 0.5), kParabola);
  EXPECT_EQ(outcome.verdict, ZoomLineSearch::Verdict::kConverged);
  EXPECT_EQ(outcome.tried, (std::vector<double>{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64}));
}

TEST(ZoomLineSearchTest, FindsTheMinimumOfAParabolaFromAStepThatIsTooLong) {
  const Outcome outcome = run(zoom(kParabola, 8, 0.1), kParabola);
  EXPECT_EQ(outcome.verdict, ZoomLineSearch::Verdict::kConverged);
  ASSERT_EQ(outcome.tried.size(), 2U);  // By a quadratic, which is the parabola.
  EXPECT_DOUBLE_EQ(outcome.step, 1);
}

TEST(ZoomLineSearchTest, SatisfiesWolfesConditionsOnLinesOfManyKinds) {
  const std::vector<Line> lines = {
      kParabola,
      {[](double t) { return std::exp(t) - 3 * t; }, [](double t) { return std::exp(t) - 3; }},
      {[](double t) { return -t / (t * t + 2); }, [](double t) { return (t * t - 2) / ((t * t + 2) * (t * t + 2)); }},
      {[](double t) { return std::cos(3 * t) + 0.01 * t * t - 0.3 * t; },
       [](double t) { return -3 * std::sin(3 * t) + 0.02 * t - 0.3; }},
      {[](double t) { return std::log1p((t - 5) * (t - 5)); },
       [](double t) { return 2 * (t - 5) / (1 + (t - 5) * (t - 5)); }},
  };
  for (std::size_t k = 0; k < lines.size(); ++k) {
    for (const double first : {1e-3, 0.1, 1.0, 10.0, 1000.0}) {
      for (const double c2 : {0.1, 0.5, 0.9}) {
        const Outcome outcome = run(zoom(lines[k], first, c2), lines[k]);
        if (outcome.verdict != ZoomLineSearch::Verdict::kConverged) continue;  // Eleven trials are few.
        EXPECT_TRUE(outcome.tried.size() == 11 || satisfies_wolfe(lines[k], outcome.step, c2))
            << "line " << k << ", first step " << first << ", c2 " << c2;
      }
      const Outcome both = run(WolfeLineSearch(lines[k].at(0), first, kC1, 0.1, GradientCheck(1e-16, 1)), lines[k]);
      EXPECT_EQ(both.verdict, ZoomLineSearch::Verdict::kConverged) << "line " << k << ", first step " << first;
      EXPECT_TRUE(satisfies_wolfe(lines[k], both.step, 0.1));
    }
  }
}

TEST(ZoomLineSearchTest, ComesBackFromWhatIsNotFinite) {
  for (const double bad : {kInf, kNaN}) {
    for (const bool in_slope : {false, true}) {
      const Line line{[=](double t) { return t > 2 && !in_slope ? bad : kParabola.f(t); },
                      [=](double t) { return t > 2 && in_slope ? bad : kParabola.slope(t); }};
      const Outcome outcome = run(zoom(line, 6), line);
      EXPECT_EQ(outcome.verdict, ZoomLineSearch::Verdict::kConverged);
      EXPECT_LE(outcome.step, 2);
    }
  }
}

TEST(ZoomLineSearchTest, FailsWhereFRisesAllAlong) {
  const Line wrong{[](double t) { return t; }, [](double) { return -1.0; }};
  const Outcome outcome = run(zoom(wrong, 1), wrong);
  EXPECT_EQ(outcome.verdict, ZoomLineSearch::Verdict::kFailed);
  EXPECT_EQ(outcome.tried.size(), 12U);  // One, and eleven in the interval.
}

TEST(ZoomLineSearchTest, TakesAPointThatFallsEnoughIfNoSlopeIsEverFlat) {
  const Line falling{[](double t) { return -t; }, [](double) { return -1.0; }};
  const Outcome outcome = run(zoom(falling, 1), falling);
  EXPECT_EQ(outcome.verdict, ZoomLineSearch::Verdict::kConverged);
  EXPECT_EQ(outcome.step, 1024);
}

TEST(ZoomLineSearchTest, NeedsASlopeOnlyWhereFFallsEnough) {
  ZoomLineSearch search = zoom(kParabola, 8, 0.1);
  EXPECT_FALSE(search.needs_slope(49.0));
  EXPECT_FALSE(search.needs_slope(kNaN));
  EXPECT_TRUE(search.needs_slope(0.5));
  EXPECT_EQ(search.advance(49.0, kNaN), ZoomLineSearch::Verdict::kTryNext);
  EXPECT_DOUBLE_EQ(search.step(), 1);
}

TEST(WolfeLineSearchTest, GoesOnWithZoomWhereMoreAndThuenteEnd) {
  // A kink: no point has a flat slope, so that Moré and Thuente's interval becomes too short.
  const Line kink{[](double t) { return std::abs(t - 1); }, [](double t) { return t < 1 ? -1.0 : 1.0; }};
  const Outcome outcome = run(WolfeLineSearch(kink.at(0), 0.5, kC1, kC2, GradientCheck(1e-16, 1)), kink);
  EXPECT_EQ(outcome.verdict, ZoomLineSearch::Verdict::kFailed);
  EXPECT_GT(outcome.tried.size(), 20U);
  EXPECT_LT(outcome.tried.size(), 150U);
}

}  // namespace
}  // namespace tfminimize::solvers
