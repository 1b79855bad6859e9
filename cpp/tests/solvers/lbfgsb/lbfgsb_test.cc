// Solves that succeed. How a solve can end is in lbfgsb_status_test.cc, saved states are in lbfgsb_state_test.cc.

#include "solvers/lbfgsb/lbfgsb.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/solvers/solve.h"

namespace tfminimize::solvers {
namespace {

using testing::bounded_rosenbrock;
using testing::kInf;
using testing::Problem;
using testing::quadratic;
using testing::Random;
using testing::relative_difference;
using testing::rosenbrock;
using testing::rosenbrock_problem;
using testing::Solve;
using testing::Vector;

/// Options with which only the gradient ends a solve.
LbfgsbOptions precise() {
  LbfgsbOptions options;
  options.ftol = 0;
  return options;
}

struct NamedProblem {
  std::string name;
  Problem problem;
  double minimum;
};

std::ostream& operator<<(std::ostream& out, const NamedProblem& p) { return out << p.name; }

class HockSchittkowskiTest : public ::testing::TestWithParam<NamedProblem> {};

TEST_P(HockSchittkowskiTest, PublishedMinimumIsFound) {
  Solve solve(GetParam().problem, precise());
  solve.finish();
  EXPECT_EQ(scipy_code(solve.solver.status()), 0) << message(solve.solver.status());
  EXPECT_NEAR(solve.solver.fun(), GetParam().minimum, 1e-6 * std::max(1.0, std::abs(GetParam().minimum)));
}

/// W. Hock, K. Schittkowski, "Test examples for nonlinear programming codes" (1981): the problems with bounds alone.
std::vector<NamedProblem> hock_schittkowski() {
  const auto problem3 = [](const Vector& x, Vector& g) {
    g = {-2e-5 * (x[1] - x[0]), 1 + 2e-5 * (x[1] - x[0])};
    return x[1] + 1e-5 * (x[1] - x[0]) * (x[1] - x[0]);
  };
  const auto problem4 = [](const Vector& x, Vector& g) {
    g = {(x[0] + 1) * (x[0] + 1), 1};
    return std::pow(x[0] + 1, 3) / 3 + x[1];
  };
  const auto problem5 = [](const Vector& x, Vector& g) {
    const double c = std::cos(x[0] + x[1]);
    g = {c + 2 * (x[0] - x[1]) - 1.5, c - 2 * (x[0] - x[1]) + 2.5};
    return std::sin(x[0] + x[1]) + (x[0] - x[1]) * (x[0] - x[1]) - 1.5 * x[0] + 2.5 * x[1] + 1;
  };
  const auto problem38 = [](const Vector& x, Vector& g) {
    const double a = x[1] - x[0] * x[0];
    const double b = x[3] - x[2] * x[2];
    g = {-400 * a * x[0] - 2 * (1 - x[0]), 200 * a + 20.2 * (x[1] - 1) + 19.8 * (x[3] - 1),
         -360 * b * x[2] - 2 * (1 - x[2]), 180 * b + 20.2 * (x[3] - 1) + 19.8 * (x[1] - 1)};
    return 100 * a * a + (1 - x[0]) * (1 - x[0]) + 90 * b * b + (1 - x[2]) * (1 - x[2]) +
           10.1 * ((x[1] - 1) * (x[1] - 1) + (x[3] - 1) * (x[3] - 1)) + 19.8 * (x[1] - 1) * (x[3] - 1);
  };
  const auto problem45 = [](const Vector& x, Vector& g) {
    double product = 1;
    for (const double value : x) product *= value;
    for (std::size_t i = 0; i < 5; ++i) {
      g[i] = -1.0 / 120;
      for (std::size_t j = 0; j < 5; ++j) g[i] *= i == j ? 1 : x[j];
    }
    return 2 - product / 120;
  };
  const auto problem110 = [](const Vector& x, Vector& g) {
    double product = 1;
    double sum = 0;
    for (const double value : x) product *= value;
    const double power = std::pow(product, 0.2);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double a = std::log(x[i] - 2);
      const double b = std::log(10 - x[i]);
      sum += a * a + b * b;
      g[i] = 2 * a / (x[i] - 2) - 2 * b / (10 - x[i]) - 0.2 * power / x[i];
    }
    return sum - power;
  };
  const double pi = std::acos(-1.0);
  return {
      {"Problem1", {rosenbrock, {-2, 1}, {-kInf, -1.5}, {kInf, kInf}}, 0},
      {"Problem2", {rosenbrock, {2, 1}, {-kInf, 1.5}, {kInf, kInf}}, 0.0504261879},
      {"Problem3", {problem3, {10, 1}, {-kInf, 0}, {kInf, kInf}}, 0},
      {"Problem4", {problem4, {1.125, 0.125}, {1, 0}, {kInf, kInf}}, 8.0 / 3},
      {"Problem5", {problem5, {0, 0}, {-1.5, -3}, {4, 3}}, -std::sqrt(3.0) / 2 - pi / 3},
      {"Problem38", {problem38, {-3, -1, -3, -1}, Vector(4, -10), Vector(4, 10)}, 0},
      {"Problem45", {problem45, {2, 2, 2, 2, 2}, Vector(5, 0), {1, 2, 3, 4, 5}}, 1},
      {"Problem110", {problem110, Vector(10, 9), Vector(10, 2.001), Vector(10, 9.999)}, -45.77846971},
  };
}
INSTANTIATE_TEST_SUITE_P(BoundsOnly, HockSchittkowskiTest, ::testing::ValuesIn(hock_schittkowski()),
                         [](const auto& p) { return p.param.name; });

/// A random quadratic over a random box: some variables end at bounds.
Problem boxed_quadratic(std::size_t n, std::uint64_t seed) {
  Problem problem = quadratic(n, 100, seed);
  Random random(seed + 1000);
  problem.lower.assign(n, -kInf);
  problem.upper.assign(n, kInf);
  for (std::size_t i = 0; i < n; ++i) {
    if (random.chance(0.7)) problem.lower[i] = random.uniform(-2, 0.3);
    if (random.chance(0.7)) problem.upper[i] = random.uniform(0.3, 2);
    if (random.chance(0.1)) problem.lower[i] = problem.upper[i] = random.uniform(-1, 1);
  }
  return problem;
}

std::vector<NamedProblem> laws() {
  std::vector<NamedProblem> problems;
  for (const std::size_t n : {1, 2, 7, 8, 9, 33, 100}) {
    const std::string size = std::to_string(n);
    problems.push_back({"Quadratic" + size, quadratic(n, 100, n), 0});
    problems.push_back({"BoxedQuadratic" + size, boxed_quadratic(n, n), 0});
    if (n == 1) continue;
    problems.push_back({"Rosenbrock" + size, rosenbrock_problem(n), 0});
    problems.push_back({"BoundedRosenbrock" + size, bounded_rosenbrock(n, n), 0});
  }
  return problems;
}

class LbfgsbLawsTest : public ::testing::TestWithParam<NamedProblem> {
 protected:
  const Problem& problem_ = GetParam().problem;
};

TEST_P(LbfgsbLawsTest, EndsWhereTheProjectedGradientVanishes) {
  Solve solve(problem_, precise());
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kGradientConverged);
  EXPECT_LE(solve.projected_gradient(), precise().gtol);
}

TEST_P(LbfgsbLawsTest, EveryEvaluationIsInsideTheBounds) {
  Solve solve(problem_, precise());
  solve.finish();
  for (const Vector& x : solve.evaluated) {
    for (std::size_t i = 0; i < problem_.lower.size(); ++i) {
      ASSERT_LE(problem_.lower[i], x[i]);
      ASSERT_LE(x[i], problem_.upper[i]);
    }
  }
}

TEST_P(LbfgsbLawsTest, NoIterationGoesUp) {
  Solve solve(problem_, precise());
  solve.finish();
  for (std::size_t k = 1; k < solve.values.size(); ++k) EXPECT_LE(solve.values[k], solve.values[k - 1]);
}

TEST_P(LbfgsbLawsTest, ResultIsThatOfTheLastX) {
  Solve solve(problem_);
  solve.finish();
  Vector g(problem_.x0.size());
  EXPECT_EQ(problem_.function(solve.x(), g), solve.solver.fun());
  EXPECT_EQ(g, solve.gradient());
}

TEST_P(LbfgsbLawsTest, CountersAreWhatTheCallerSaw) {
  Solve solve(problem_);
  solve.finish();
  EXPECT_EQ(solve.solver.nfev(), static_cast<std::int64_t>(solve.evaluated.size()));
  EXPECT_EQ(solve.solver.nit(), static_cast<std::int64_t>(solve.iterates.size()));
  EXPECT_EQ(solve.solver.size(), problem_.x0.size());
}

TEST_P(LbfgsbLawsTest, NoPointIsEvaluatedTwiceInARow) {
  Solve solve(problem_);
  solve.finish();
  for (std::size_t k = 1; k < solve.evaluated.size(); ++k) EXPECT_NE(solve.evaluated[k], solve.evaluated[k - 1]);
}

TEST_P(LbfgsbLawsTest, TrialsOfALineSearchLieOnALine) {
  Solve solve(problem_, precise());
  solve.advance();
  while (solve.solver.request() != Request::kStopped) {
    const Vector start = solve.iterates.empty() ? solve.evaluated.front() : solve.iterates.back();
    const std::size_t first = solve.evaluated.size();
    solve.advance_to(Request::kIteration);
    for (std::size_t k = first + 1; k < solve.evaluated.size(); ++k) {
      double ratio = 0;  // Of the steps, in their largest element.
      double largest = 0;
      for (std::size_t i = 0; i < start.size(); ++i) {
        const double d = solve.evaluated[first][i] - start[i];
        if (std::abs(d) <= largest) continue;
        largest = std::abs(d);
        ratio = (solve.evaluated[k][i] - start[i]) / d;
      }
      for (std::size_t i = 0; i < start.size(); ++i) {
        const double d = solve.evaluated[first][i] - start[i];
        ASSERT_NEAR(solve.evaluated[k][i] - start[i], ratio * d, 1e-9 * std::max(1.0, ratio) * largest);
      }
    }
  }
}

TEST_P(LbfgsbLawsTest, AnyNumberOfCorrectionsLeadsToTheMinimum) {
  Solve reference(problem_, precise());
  reference.finish();
  for (const std::int64_t maxcor : {1, 2, 5, 40}) {
    LbfgsbOptions options = precise();
    options.maxcor = maxcor;
    Solve solve(problem_, options);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), Status::kGradientConverged) << maxcor;
    EXPECT_NEAR(solve.solver.fun(), reference.solver.fun(), 1e-7) << maxcor;
    EXPECT_LE(solve.solver.num_corrections(), static_cast<std::size_t>(maxcor));
  }
}

TEST_P(LbfgsbLawsTest, PermutedVariablesGiveTheSameIteratesToRounding) {
  const std::size_t n = problem_.x0.size();
  std::vector<std::size_t> order(n);
  for (std::size_t i = 0; i < n; ++i) order[i] = (i * 3 + 1) % n;
  if (n % 3 == 0) return;
  const auto permuted = [&](const Vector& v) {
    Vector result(v.size());
    for (std::size_t i = 0; i < v.size(); ++i) result[i] = v[order[i]];
    return result;
  };
  const auto function = [&](const Vector& x, Vector& g) {
    Vector inner(n);
    Vector inner_g(n);
    for (std::size_t i = 0; i < n; ++i) inner[order[i]] = x[i];
    const double f = problem_.function(inner, inner_g);
    g = permuted(inner_g);
    return f;
  };
  LbfgsbOptions options;
  options.maxiter = 8;
  Solve solve(problem_, options);
  Solve other({function, permuted(problem_.x0), permuted(problem_.lower), permuted(problem_.upper)}, options);
  solve.finish();
  other.finish();
  ASSERT_EQ(other.iterates.size(), solve.iterates.size());
  for (std::size_t k = 0; k < solve.iterates.size(); ++k) {
    EXPECT_LT(relative_difference(other.iterates[k], permuted(solve.iterates[k])), 1e-8) << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Problems, LbfgsbLawsTest, ::testing::ValuesIn(laws()),
                         [](const auto& p) { return p.param.name; });

TEST(LbfgsbTest, ScalingFByAPowerOfTwoGivesTheSameBitsOfX) {
  LbfgsbOptions options;
  options.ftol = 0;
  options.gtol = 0;
  options.maxiter = 25;
  // From 0: the first direction is (x - g) - x, which is rounded elsewhere.
  Problem problem{rosenbrock, Vector(10), {}, {}};
  Solve reference(problem, options);
  reference.finish();
  for (const double scale : {0x1p20, 0x1p-20}) {
    problem.function = [=](const Vector& x, Vector& g) {
      const double f = rosenbrock(x, g);
      for (double& value : g) value *= scale;
      return scale * f;
    };
    Solve solve(problem, options);
    solve.finish();
    EXPECT_TRUE(solve.evaluated == reference.evaluated) << scale;
  }
}

TEST(LbfgsbTest, InfiniteBoundsGiveThePathOfNoBounds) {
  Problem bounded = rosenbrock_problem(6);
  bounded.lower.assign(6, -kInf);
  bounded.upper.assign(6, kInf);
  LbfgsbOptions options;
  options.maxiter = 10;
  Solve with(bounded, options);
  Solve without(rosenbrock_problem(6), options);
  with.finish();
  without.finish();
  ASSERT_EQ(with.iterates.size(), without.iterates.size());
  for (std::size_t k = 0; k < with.iterates.size(); ++k) {
    EXPECT_LT(relative_difference(with.iterates[k], without.iterates[k]), 1e-9) << k;
  }
}

TEST(LbfgsbTest, FixedVariablesNeverMove) {
  Problem problem = bounded_rosenbrock(9);
  for (const std::size_t i : {0, 4, 8}) problem.lower[i] = problem.upper[i] = 0.3;
  Solve solve(problem);
  solve.finish();
  for (const Vector& x : solve.evaluated) {
    for (const std::size_t i : {0, 4, 8}) EXPECT_EQ(x[i], 0.3);
  }
}

TEST(LbfgsbTest, AllVariablesFixedEndsAtOnce) {
  Problem problem = rosenbrock_problem(3);
  problem.lower = problem.upper = {0.5, 0.25, -1};
  Solve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kGradientConverged);
  EXPECT_EQ(solve.solver.nfev(), 1);
  EXPECT_EQ(solve.x(), problem.lower);
}

TEST(LbfgsbTest, StartOutsideOfTheBoundsIsProjected) {
  Problem problem = rosenbrock_problem(3);
  problem.lower = {0, -kInf, -1};
  problem.upper = {kInf, 0.5, 2};
  const Solve solve(problem);
  EXPECT_EQ(solve.x(), (Vector{0, 0.5, -1}));
}

TEST(LbfgsbTest, CorrectionsAreDifferencesOfIteratesOldestFirst) {
  LbfgsbOptions options;
  options.maxcor = 4;
  options.maxiter = 9;
  for (const Problem& problem : {rosenbrock_problem(5), bounded_rosenbrock(5)}) {
    Solve solve(problem, options);
    Vector last = problem.x0;
    std::vector<Vector> steps;
    while (solve.solver.request() != Request::kStopped) {
      if (solve.advance() != Request::kIteration) continue;
      const Vector x = solve.x();
      Vector s(5);
      for (std::size_t i = 0; i < 5; ++i) s[i] = x[i] - last[i];
      steps.push_back(s);
      last = x;
    }
    const std::size_t k = solve.solver.num_corrections();
    ASSERT_EQ(k, 4U);
    Vector s(k * 5);
    Vector y(k * 5);
    solve.solver.copy_corrections(s, y);
    // The last iteration stored no pair, since the solve was over.
    for (std::size_t pair = 0; pair < k; ++pair) {
      const Vector& expected = steps[steps.size() - 1 - k + pair];
      for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(s[pair * 5 + i], expected[i], 1e-14);
      double curvature = 0;
      for (std::size_t i = 0; i < 5; ++i) curvature += s[pair * 5 + i] * y[pair * 5 + i];
      EXPECT_GT(curvature, 0);
    }
  }
}

TEST(LbfgsbTest, TwoSolversAtOnceDoNotDisturbEachOther) {
  Solve alone(rosenbrock_problem(12));
  alone.finish();
  Solve first(rosenbrock_problem(12));
  Solve second(bounded_rosenbrock(9));
  while (first.solver.request() != Request::kStopped) {
    first.advance();
    if (second.solver.request() != Request::kStopped) second.advance();
  }
  EXPECT_EQ(first.evaluated, alone.evaluated);
}

TEST(LbfgsbTest, StepThatRoundsToTheSamePointIsNotEvaluated) {
  // Numbers are 16 apart here, and f is finite only at the start, so the steps become shorter than that.
  const auto island = [](const Vector& x, Vector& g) {
    g = {-1e5};
    return x[0] == 1e17 ? 0 : testing::kNaN;
  };
  Solve solve({island, {1e17}, {-1e18}, {1e18}});
  solve.finish();
  EXPECT_GT(solve.evaluated.size(), 5U);
  for (std::size_t k = 1; k < solve.evaluated.size(); ++k) EXPECT_NE(solve.evaluated[k], solve.evaluated[k - 1]);
  EXPECT_EQ(solve.solver.status(), Status::kLineSearchFailed);
  EXPECT_EQ(solve.x(), (Vector{1e17}));
}

TEST(LbfgsbTest, ManyVariablesConverge) {
  Solve solve(quadratic(20000, 10), precise());
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kGradientConverged);
}

}  // namespace
}  // namespace tfminimize::solvers
