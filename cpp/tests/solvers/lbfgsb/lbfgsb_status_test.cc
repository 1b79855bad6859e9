// How a solve can end, and what is in the solver then.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "solvers/lbfgsb/lbfgsb.h"
#include "tests/solvers/solve.h"

namespace tfminimize::solvers {
namespace {

using testing::bounded_rosenbrock;
using testing::expect_consistent;
using testing::Function;
using testing::kInf;
using testing::Problem;
using testing::quadratic;
using testing::rosenbrock;
using testing::rosenbrock_problem;
using testing::Solve;
using testing::Vector;

// Limits.

TEST(LbfgsbLimitsTest, NoIterationsEvaluatesTheStartAndStops) {
  LbfgsbOptions options;
  options.maxiter = 0;
  Solve solve(rosenbrock_problem(4), options);
  EXPECT_EQ(solve.advance(), Request::kStopped);
  EXPECT_EQ(solve.solver.status(), Status::kMaxIterations);
  EXPECT_EQ(solve.solver.nfev(), 1);
  EXPECT_EQ(solve.solver.nit(), 0);
  EXPECT_EQ(solve.x(), rosenbrock_problem(4).x0);
  expect_consistent(solve, rosenbrock);
}

TEST(LbfgsbLimitsTest, IterationsAreCountedExactly) {
  for (const std::int64_t maxiter : {1, 2, 7}) {
    LbfgsbOptions options;
    options.maxiter = maxiter;
    Solve solve(rosenbrock_problem(4), options);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), Status::kMaxIterations);
    EXPECT_EQ(solve.solver.nit(), maxiter);
    expect_consistent(solve, rosenbrock);
  }
}

TEST(LbfgsbLimitsTest, EvaluationsAreCountedAtTheEndOfAnIteration) {
  for (const std::int64_t maxfun : {0, 1, 2, 10, 20}) {
    LbfgsbOptions options;
    options.maxfun = maxfun;
    Solve solve(rosenbrock_problem(4), options);
    std::int64_t before = 0;  // At the end of the iteration before the last.
    std::int64_t last = 0;
    while (solve.solver.request() != Request::kStopped) {
      if (solve.advance() == Request::kIteration) before = std::exchange(last, solve.solver.nfev());
    }
    EXPECT_EQ(solve.solver.status(), Status::kMaxEvaluations);
    EXPECT_GT(last, maxfun);
    EXPECT_LE(before, maxfun);
    expect_consistent(solve, rosenbrock);
  }
}

TEST(LbfgsbLimitsTest, IterationLimitGoesBeforeConvergence) {
  Solve unlimited(quadratic(3, 2));
  unlimited.finish();
  LbfgsbOptions options;
  options.maxiter = unlimited.solver.nit();
  Solve solve(quadratic(3, 2), options);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kMaxIterations);
  EXPECT_EQ(solve.x(), unlimited.x());
}

// Convergence.

TEST(LbfgsbConvergenceTest, SmallGradientAtTheStartNeedsNoIteration) {
  Problem problem = rosenbrock_problem(3);
  problem.x0 = {1, 1, 1};
  for (const std::int64_t maxiter : {0, 100}) {
    LbfgsbOptions options;
    options.maxiter = maxiter;
    Solve solve(problem, options);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), Status::kGradientConverged);
    EXPECT_EQ(solve.solver.nfev(), 1);
    EXPECT_EQ(solve.solver.nit(), 0);
  }
}

TEST(LbfgsbConvergenceTest, StartAtABoundThatHoldsItNeedsNoIteration) {
  Problem problem = rosenbrock_problem(2);
  problem.lower = {-kInf, 5};
  problem.upper = {0, kInf};
  problem.x0 = {-std::sqrt(5.0), 5};  // Along x0 the gradient is 2(x0 - 1), into the direction of 0.
  problem.lower[0] = problem.upper[0] = problem.x0[0];
  Solve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kGradientConverged);
  EXPECT_EQ(solve.solver.nfev(), 1);
}

TEST(LbfgsbConvergenceTest, GradientToleranceIsThatOfTheCaller) {
  for (const double gtol : {1e-1, 1e-3, 1e-8}) {
    LbfgsbOptions options;
    options.ftol = 0;
    options.gtol = gtol;
    Solve solve(rosenbrock_problem(6), options);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), Status::kGradientConverged);
    EXPECT_LE(solve.projected_gradient(), gtol);
  }
}

TEST(LbfgsbConvergenceTest, SmallRelativeReductionEndsTheSolve) {
  LbfgsbOptions options;
  options.ftol = 1e-3;
  options.gtol = 0;
  Solve solve(quadratic(20, 50), options);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kFunctionConverged);
  const Vector& f = solve.values;
  ASSERT_GE(f.size(), 3U);
  for (std::size_t k = 1; k < f.size(); ++k) {
    const bool small = f[k - 1] - f[k] <= options.ftol * std::max({std::abs(f[k - 1]), std::abs(f[k]), 1.0});
    EXPECT_EQ(small, k + 1 == f.size()) << k;
  }
}

TEST(LbfgsbConvergenceTest, ConstantFunctionConvergesAtOnce) {
  Solve solve({[](const Vector&, Vector&) { return 3.0; }, {1, 2}, {}, {}});
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kGradientConverged);
  EXPECT_EQ(solve.solver.fun(), 3);
}

TEST(LbfgsbConvergenceTest, LinearFunctionEndsInACornerOfItsBox) {
  const auto linear = [](const Vector& x, Vector& g) {
    g = {1, -2, 0.5};
    return x[0] - 2 * x[1] + 0.5 * x[2];
  };
  Solve solve({linear, {0.5, 0.25, 7}, {0, 0, -1}, {1, 1, 9}});
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kGradientConverged);
  EXPECT_EQ(solve.x(), (Vector{0, 1, -1}));
}

// Functions without a minimum.

TEST(LbfgsbUnboundedBelowTest, LinearFunctionRunsIntoALimit) {
  const auto linear = [](const Vector& x, Vector& g) {
    g = {-1, -1};
    return -x[0] - x[1];
  };
  LbfgsbOptions options;
  options.maxfun = 200;
  Solve solve({linear, {0, 0}, {}, {}}, options);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kMaxEvaluations);
  expect_consistent(solve, linear);
}

TEST(LbfgsbUnboundedBelowTest, MinusInfinityEndsTheSolve) {
  const auto cliff = [](const Vector& x, Vector& g) {
    g = {-1};
    return x[0] > 5 ? -kInf : -x[0];
  };
  Solve solve({cliff, {0}, {}, {}});
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kUnboundedBelow);
  EXPECT_EQ(solve.solver.fun(), -kInf);
  EXPECT_GT(solve.x()[0], 5);
}

// Failures of the line search.

Function negated_gradient(const Function& function) {
  return [=](const Vector& x, Vector& g) {
    const double f = function(x, g);
    for (double& value : g) value = -value;
    return f;
  };
}

TEST(LbfgsbGradientMismatchTest, GradientOfTheWrongSignIsFound) {
  for (const Problem& like : {rosenbrock_problem(5), quadratic(5, 10), bounded_rosenbrock(5, 3)}) {
    Problem problem = like;
    problem.function = negated_gradient(like.function);
    Solve solve(problem);
    const Vector start = solve.x();
    solve.finish();
    EXPECT_EQ(solve.solver.status(), Status::kGradientMismatch);
    EXPECT_EQ(solve.x(), start);
    EXPECT_EQ(solve.solver.nit(), 0);
    expect_consistent(solve, problem.function);
  }
}

TEST(LbfgsbGradientMismatchTest, GradientOfTheWrongSignIsNeverASuccess) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const std::size_t n = 1 + seed % 9;
    Problem problem = quadratic(n, 1000, seed);
    problem.function = negated_gradient(problem.function);
    Solve solve(problem);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), Status::kGradientMismatch) << seed;
  }
}

TEST(LbfgsbGradientMismatchTest, GradientThatTurnsWrongOnTheWayIsFound) {
  int evaluations = 0;
  Problem problem = rosenbrock_problem(5);
  problem.function = [&](const Vector& x, Vector& g) {
    return ++evaluations > 12 ? negated_gradient(rosenbrock)(x, g) : rosenbrock(x, g);
  };
  Solve solve(problem);
  solve.finish();
  EXPECT_NE(scipy_code(solve.solver.status()), 0);
  EXPECT_EQ(solve.solver.fun(), solve.values.back());
  EXPECT_EQ(solve.x(), solve.iterates.back());
}

TEST(LbfgsbGradientMismatchTest, WrongSignIsFoundAtEachScaleInFloat32) {
  for (const double scale : {1e-6, 1.0, 1e6}) {
    Problem problem = rosenbrock_problem(5);
    problem.function = [=](const Vector& x, Vector& g) {
      const double f = rosenbrock(x, g);
      for (double& value : g) value = static_cast<float>(-scale * value);
      return static_cast<double>(static_cast<float>(scale * f));
    };
    LbfgsbOptions options;
    options.gtol = 0;
    options.precision = std::numeric_limits<float>::epsilon();
    Solve solve(problem, options);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), Status::kGradientMismatch) << scale;
  }
}

TEST(LbfgsbUnboundedBelowTest, PoleIsNoSuccess) {
  // Whether a line search near the pole still finds a lower point is a matter of rounding.
  for (int start = 1; start <= 100; ++start) {
    const auto pole = [](const Vector& x, Vector& g) {
      const double power = std::pow(x[0], -10);
      g = {10 * power / x[0]};
      return -power;
    };
    Solve solve({pole, {0.02 * start}, {-1}, {2}});
    solve.finish();
    EXPECT_EQ(scipy_code(solve.solver.status()), 2) << start;
  }
}

TEST(LbfgsbConvergenceTest, MinimumFarBelowTheStartIsASuccess) {
  const auto deep = [](const Vector& x, Vector& g) {
    g = {1e20 * 2 * (x[0] - 3)};
    return 1e20 * (x[0] * x[0] - 6 * x[0]);
  };
  Solve solve({deep, {0}, {}, {}});
  solve.finish();
  EXPECT_EQ(scipy_code(solve.solver.status()), 0);
}

TEST(LbfgsbLineSearchTest, FailureAtTheStartRestoresEverything) {
  // In a box the first step is as long as the gradient: too long here.
  const auto steep = [](const Vector& x, Vector& g) {
    g = {100 * x[0]};
    return 50 * x[0] * x[0];
  };
  LbfgsbOptions options;
  options.maxls = 1;
  Solve solve({steep, {1}, {-1000}, {1000}}, options);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), Status::kLineSearchFailed);
  EXPECT_EQ(solve.solver.nfev(), 2);
  EXPECT_EQ(solve.x(), (Vector{1}));
  expect_consistent(solve, steep);
}

TEST(LbfgsbLineSearchTest, FewTrialsLeaveAConsistentResult) {
  for (const std::int64_t maxls : {1, 2, 3}) {
    for (const Problem& problem : {rosenbrock_problem(6), bounded_rosenbrock(6)}) {
      LbfgsbOptions options;
      options.maxls = maxls;
      Solve solve(problem, options);
      solve.finish();
      expect_consistent(solve, rosenbrock);
      for (const double f : solve.values) EXPECT_LE(solve.solver.fun(), f);
    }
  }
}

TEST(LbfgsbLineSearchTest, NoiseAtTheMinimumEndsTheSolve) {
  // A gradient that is right, and values that hide the descent that it promises.
  const auto rounded = [](const Vector& x, Vector& g) { return std::round(rosenbrock(x, g) * 100) / 100; };
  LbfgsbOptions options;
  options.ftol = 0;
  options.gtol = 0;
  Problem problem = rosenbrock_problem(4);
  problem.function = rounded;
  Solve solve(problem, options);
  solve.finish();
  EXPECT_LE(solve.solver.fun(), 0.05);
  EXPECT_NE(solve.solver.status(), Status::kGradientMismatch);
}

TEST(LbfgsbLineSearchTest, KinkEndsTheSolve) {
  const auto kink = [](const Vector& x, Vector& g) {
    g = {x[0] < 0.3 ? -1.0 : 1.0, x[1] < 0.7 ? -2.0 : 2.0};
    return std::abs(x[0] - 0.3) + 2 * std::abs(x[1] - 0.7);
  };
  Solve solve({kink, {5, -3}, {}, {}});
  solve.finish();
  expect_consistent(solve, kink);
  EXPECT_LT(solve.solver.fun(), 1);
}

// Scales.

TEST(LbfgsbScalesTest, HugeAndTinyFunctionsAreMinimized) {
  for (const double scale : {1e150, 1e100, 1e-5}) {
    Problem problem = quadratic(5, 10);
    const Function function = problem.function;
    problem.function = [=](const Vector& x, Vector& g) {
      const double f = function(x, g);
      for (double& value : g) value *= scale;
      return scale * f;
    };
    LbfgsbOptions options;
    options.gtol = 0;
    options.ftol = 0;
    Solve solve(problem, options);
    solve.finish();
    Vector g(5);
    EXPECT_LT(function(solve.x(), g), 1e-10) << scale;
  }
}

TEST(LbfgsbScalesTest, GradientWhoseSquareOverflowsIsNoSuccessAtTheStart) {
  for (const bool bounded : {false, true}) {
    Problem problem = quadratic(5, 10);
    const Function function = problem.function;
    problem.function = [=](const Vector& x, Vector& g) {
      const double f = function(x, g);
      for (double& value : g) value *= 1e160;
      return 1e160 * f;
    };
    if (bounded) problem.lower = Vector(5, -10);
    if (bounded) problem.upper = Vector(5, 10);
    Solve solve(problem);
    solve.finish();
    EXPECT_TRUE(scipy_code(solve.solver.status()) != 0 || solve.x() != problem.x0) << bounded;
    expect_consistent(solve, problem.function);
  }
}

TEST(LbfgsbScalesTest, VanishingGradientEndsWithoutHarm) {
  for (const double scale : {1e-150, 1e-170, 1e-300}) {
    for (const bool bounded : {false, true}) {
      Problem problem = quadratic(3, 1);
      const Function function = problem.function;
      problem.function = [=](const Vector& x, Vector& g) {
        const double f = function(x, g);
        for (double& value : g) value *= scale;
        return scale * f;
      };
      if (bounded) problem.lower = Vector(3, -10);
      if (bounded) problem.upper = Vector(3, 10);
      LbfgsbOptions options;
      options.gtol = 0;
      Solve solve(problem, options);
      solve.finish();
      expect_consistent(solve, problem.function);
    }
  }
}

}  // namespace
}  // namespace tfminimize::solvers
