#include "solvers/line_search/more_thuente.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <ostream>
#include <vector>

#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers {
namespace {

using testing::kEps;
using Verdict = MoreThuenteLineSearch::Verdict;

constexpr double kPi = 3.14159265358979323846;

struct ValueAndSlope {
  double f;
  double slope;
};
using LineFunction = std::function<ValueAndSlope(double t)>;

// The functions of section 5 of Moré & Thuente (1994).

/// (5.1): φ(t) = -t/(t² + β), β = 2.
ValueAndSlope rational(double t) {
  const double beta = 2;
  const double q = t * t + beta;
  return {-t / q, (t * t - beta) / (q * q)};
}

/// (5.2): φ(t) = (t + β)⁵ - 2(t + β)⁴, β = 0.004.
ValueAndSlope quintic(double t) {
  const double u = t + 0.004;
  return {std::pow(u, 5) - 2 * std::pow(u, 4), 5 * std::pow(u, 4) - 8 * std::pow(u, 3)};
}

/// (5.3): |t - 1| with a rounded tip, and a ripple; β = 0.01, l = 39.
ValueAndSlope rippled(double t) {
  const double beta = 0.01;
  const double l = 39;
  ValueAndSlope p{};
  if (t <= 1 - beta) {
    p = {1 - t, -1};
  } else if (t >= 1 + beta) {
    p = {t - 1, 1};
  } else {
    p = {(t - 1) * (t - 1) / (2 * beta) + beta / 2, (t - 1) / beta};
  }
  p.f += 2 * (1 - beta) / (l * kPi) * std::sin(l * kPi / 2 * t);
  p.slope += (1 - beta) * std::cos(l * kPi / 2 * t);
  return p;
}

/// (5.4): the sum of two hyperbolas, after Yanai, Ozawa & Kaneko.
LineFunction hyperbolas(double beta1, double beta2) {
  return [=](double t) -> ValueAndSlope {
    const auto gamma = [](double beta) { return std::sqrt(1 + beta * beta) - beta; };
    const double a = std::hypot(1 - t, beta2);
    const double b = std::hypot(t, beta1);
    return {gamma(beta1) * a + gamma(beta2) * b, gamma(beta1) * (t - 1) / a + gamma(beta2) * t / b};
  };
}

constexpr std::array<double, 4> kFirstSteps = {1e-3, 1e-1, 1e1, 1e3};

struct Found {
  std::size_t evaluations;
  double step;
};

struct LineSearchCase {
  const char* name;
  LineFunction function;
  double ftol;
  double gtol;
  /// Starts from each of the first steps. The numbers of evaluations are those of tables I to VI of the paper. They
  /// agree with scipy.optimize._dcsrch.DCSRCH (SciPy 1.17.1), which gave the digits of the steps.
  std::array<Found, kFirstSteps.size()> found;
};

std::ostream& operator<<(std::ostream& out, const LineSearchCase& c) { return out << c.name; }

struct SearchResult {
  Verdict verdict = Verdict::kTryNext;
  LinePoint last;
  std::vector<double> steps;
};

constexpr int kMaxEvaluations = 100;

SearchResult search(const LineFunction& function, double first_step, const MoreThuenteLineSearch::Params& params) {
  const ValueAndSlope start = function(0);
  MoreThuenteLineSearch line_search({0, start.f, start.slope}, first_step, params);
  SearchResult result;
  while (result.verdict == Verdict::kTryNext && result.steps.size() < kMaxEvaluations) {
    const double t = line_search.step();
    const ValueAndSlope p = function(t);
    result.steps.push_back(t);
    result.last = {t, p.f, p.slope};
    result.verdict = line_search.advance(p.f, p.slope);
  }
  return result;
}

MoreThuenteLineSearch::Params params_of(const LineSearchCase& c) {
  MoreThuenteLineSearch::Params params;
  params.ftol = c.ftol;
  params.gtol = c.gtol;
  params.xtol = kEps;
  return params;
}

class MoreThuentePaperTest : public ::testing::TestWithParam<LineSearchCase> {};

TEST_P(MoreThuentePaperTest, BothConditionsHoldAtTheAcceptedStep) {
  const LineSearchCase& c = GetParam();
  const ValueAndSlope start = c.function(0);
  for (const double first_step : kFirstSteps) {
    const SearchResult result = search(c.function, first_step, params_of(c));
    ASSERT_EQ(result.verdict, Verdict::kConverged) << first_step;
    EXPECT_LE(result.last.f, start.f + c.ftol * result.last.t * start.slope) << first_step;
    EXPECT_LE(std::abs(result.last.slope), c.gtol * std::abs(start.slope)) << first_step;
  }
}

TEST_P(MoreThuentePaperTest, StepsAndEvaluationsAreThoseOfThePaperAndOfSciPy) {
  const LineSearchCase& c = GetParam();
  for (std::size_t k = 0; k < kFirstSteps.size(); ++k) {
    MoreThuenteLineSearch::Params params = params_of(c);
    params.max_step = 4 * std::max(1.0, kFirstSteps[k]);
    const SearchResult result = search(c.function, kFirstSteps[k], params);
    EXPECT_EQ(result.steps.size(), c.found[k].evaluations) << kFirstSteps[k];
    EXPECT_NEAR(result.last.t, c.found[k].step, 1e-9 * c.found[k].step) << kFirstSteps[k];
  }
}

TEST_P(MoreThuentePaperTest, EveryStepIsInsideTheAllowedInterval) {
  const LineSearchCase& c = GetParam();
  MoreThuenteLineSearch::Params params = params_of(c);
  params.max_step = 2;
  for (const double first_step : {1e-3, 1e-1, 1.0, 2.0}) {
    const SearchResult result = search(c.function, first_step, params);
    EXPECT_NE(result.verdict, Verdict::kTryNext) << first_step;
    for (const double t : result.steps) {
      EXPECT_GT(t, 0) << first_step;
      EXPECT_LE(t, params.max_step) << first_step;
    }
  }
}

TEST_P(MoreThuentePaperTest, TheAcceptedStepDecreasesTheFunction) {
  const LineSearchCase& c = GetParam();
  for (const double first_step : kFirstSteps) {
    MoreThuenteLineSearch::Params params;  // L-BFGS-B's own.
    const SearchResult result = search(c.function, first_step, params);
    ASSERT_NE(result.verdict, Verdict::kTryNext) << first_step;
    EXPECT_LT(result.last.f, c.function(0).f) << first_step;
  }
}

TEST_P(MoreThuentePaperTest, ACopyContinuesWithTheSameBits) {
  const LineSearchCase& c = GetParam();
  const ValueAndSlope start = c.function(0);
  MoreThuenteLineSearch original({0, start.f, start.slope}, 1e-3, params_of(c));
  for (int k = 0; k < kMaxEvaluations; ++k) {
    MoreThuenteLineSearch copy = original;
    const ValueAndSlope p = c.function(original.step());
    const Verdict verdict = original.advance(p.f, p.slope);
    EXPECT_EQ(copy.advance(p.f, p.slope), verdict);
    EXPECT_EQ(copy.step(), original.step());
    if (verdict != Verdict::kTryNext) return;
  }
  FAIL() << "no end";
}

const LineSearchCase kCases[] = {
    {"Rational", rational, 0.001, 0.1, {{{6, 1.365}, {3, 1.4413720790892741}, {1, 10}, {4, 36.88760696396662}}}},
    {"Quintic",
     quintic,
     0.1,
     0.1,
     {{{12, 1.5960000000033279}, {8, 1.5960000000049348}, {8, 1.5959999997572032}, {11, 1.595999998872531}}}},
    {"Rippled",
     rippled,
     0.1,
     0.1,
     {{{12, 0.9999996797968318}, {12, 0.9999988033548208}, {10, 0.9999999876178056}, {13, 0.9999999017146377}}}},
    {"SharpHyperbolas",
     hyperbolas(0.001, 0.001),
     0.001,
     0.001,
     {{{4, 0.085}, {1, 0.1}, {3, 0.3491046164172457}, {4, 0.8294012431694555}}}},
    {"LeftBluntHyperbolas",
     hyperbolas(0.01, 0.001),
     0.001,
     0.001,
     {{{6, 0.07501087060006813}, {3, 0.07751042197802409}, {7, 0.07314201106897247}, {8, 0.07615927320143628}}}},
    {"RightBluntHyperbolas",
     hyperbolas(0.001, 0.01),
     0.001,
     0.001,
     {{{13, 0.9279032286386139}, {11, 0.9261500138380059}, {8, 0.924781673432196}, {11, 0.9243979067536415}}}},
};

INSTANTIATE_TEST_SUITE_P(Section5, MoreThuentePaperTest, ::testing::ValuesIn(kCases),
                         [](const auto& c) { return c.param.name; });

TEST(MoreThuenteTest, FirstTrialIsTheFirstStep) {
  EXPECT_EQ(MoreThuenteLineSearch({0, 1, -1}, 0.375, {}).step(), 0.375);
}

TEST(MoreThuenteTest, MinimizerOfAQuadraticIsAcceptedAtOnce) {
  const auto quadratic = [](double t) -> ValueAndSlope { return {(t - 1) * (t - 1), 2 * (t - 1)}; };
  EXPECT_EQ(search(quadratic, 1, {}).steps.size(), 1U);
}

TEST(MoreThuenteTest, LargestStepIsTakenWhereTheFunctionFallsForever) {
  MoreThuenteLineSearch::Params params;
  params.max_step = 50;
  const auto falling = [](double t) -> ValueAndSlope { return {-t, -1}; };
  const SearchResult result = search(falling, 1, params);
  EXPECT_EQ(result.verdict, Verdict::kNoProgress);
  EXPECT_EQ(result.last.t, 50);
}

TEST(MoreThuenteTest, StepsShrinkWhereTheFunctionRisesAgainstItsSlope) {
  const auto rising = [](double t) -> ValueAndSlope { return {t, -1}; };
  const SearchResult result = search(rising, 1, {});
  for (std::size_t k = 1; k < result.steps.size(); ++k) EXPECT_LT(result.steps[k], result.steps[k - 1]);
  EXPECT_LT(result.steps.back(), 1e-6);
}

TEST(MoreThuenteTest, NearlyOverflowingValuesGiveFiniteSteps) {
  const double huge = 1e300;
  const auto steep = [=](double t) -> ValueAndSlope { return {huge * (t - 0.3) * (t - 0.3), 2 * huge * (t - 0.3)}; };
  const SearchResult result = search(steep, 1, {});
  for (const double t : result.steps) EXPECT_TRUE(std::isfinite(t)) << t;
  EXPECT_EQ(result.verdict, Verdict::kConverged);
}

TEST(MoreThuenteTest, TinyScaleFindsTheSameSteps) {
  const double scale = 0x1p-900;
  const auto scaled = [=](double t) -> ValueAndSlope {
    const ValueAndSlope p = rational(t);
    return {scale * p.f, scale * p.slope};
  };
  MoreThuenteLineSearch::Params params;
  params.gtol = 0.1;
  EXPECT_EQ(search(scaled, 1e-3, params).steps, search(rational, 1e-3, params).steps);
}

TEST(MoreThuenteTest, BacktrackingShortensTheFirstStep) {
  MoreThuenteLineSearch line_search({0, 1, -1}, 8, {});
  line_search.backtrack();
  EXPECT_EQ(line_search.step(), 2);
  line_search.backtrack();
  EXPECT_EQ(line_search.step(), 0.5);
}

TEST(MoreThuenteTest, NoStepAfterBacktrackingIsLongerThanTheOneThatFailed) {
  // Falls up to a wall, and is not finite beyond it.
  for (const double wall : {0.7, 3.0, 19.0}) {
    MoreThuenteLineSearch line_search({0, 0, -1}, 1, {});
    double shortest_failure = testing::kInf;
    Verdict verdict = Verdict::kTryNext;
    int evaluations = 0;
    while (verdict == Verdict::kTryNext && ++evaluations < kMaxEvaluations) {
      const double t = line_search.step();
      EXPECT_LT(t, shortest_failure) << wall;
      if (t > wall) {
        shortest_failure = t;
        line_search.backtrack();
      } else {
        verdict = line_search.advance(-t, -1);
      }
    }
    EXPECT_EQ(verdict, Verdict::kNoProgress);
    EXPECT_LE(line_search.step(), wall);
    EXPECT_GT(line_search.step(), 0);
  }
}

TEST(MoreThuenteTest, MinimumBeforeAWallIsFound) {
  const auto function = [](double t) -> ValueAndSlope { return {(t - 0.3) * (t - 0.3), 2 * (t - 0.3)}; };
  MoreThuenteLineSearch::Params params;
  params.gtol = 0.01;
  const ValueAndSlope start = function(0);
  MoreThuenteLineSearch line_search({0, start.f, start.slope}, 40, params);
  Verdict verdict = Verdict::kTryNext;
  for (int k = 0; verdict == Verdict::kTryNext && k < kMaxEvaluations; ++k) {
    const double t = line_search.step();
    if (t > 0.7) {
      line_search.backtrack();
      continue;
    }
    const ValueAndSlope p = function(t);
    verdict = line_search.advance(p.f, p.slope);
  }
  EXPECT_EQ(verdict, Verdict::kConverged);
  EXPECT_NEAR(line_search.step(), 0.3, 0.003);
}

}  // namespace
}  // namespace tfminimize::solvers
