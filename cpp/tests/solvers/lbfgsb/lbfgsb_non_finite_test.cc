// Values and gradients that are not finite.

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "solvers/lbfgsb/lbfgsb.h"
#include "tests/solvers/solve.h"

namespace tfminimize::solvers {
namespace {

using testing::bounded_rosenbrock;
using testing::expect_consistent;
using testing::Function;
using testing::kInf;
using testing::kNaN;
using testing::Problem;
using testing::rosenbrock;
using testing::rosenbrock_problem;
using testing::Solve;
using testing::Vector;

TEST(LbfgsbNonFiniteTest, ValueAtTheStartEndsTheSolve) {
  for (const double value : {kNaN, kInf, -kInf}) {
    for (const Problem& like : {rosenbrock_problem(3), bounded_rosenbrock(3)}) {
      Problem problem = like;
      problem.function = [=](const Vector&, Vector& g) {
        g = {1, 1, 1};
        return value;
      };
      Solve solve(problem);
      solve.finish();
      EXPECT_EQ(solve.solver.status(), Status::kNonFiniteStart) << value;
      EXPECT_EQ(solve.solver.nfev(), 1);
      EXPECT_EQ(scipy_code(solve.solver.status()), 2);
    }
  }
}

TEST(LbfgsbNonFiniteTest, GradientAtTheStartEndsTheSolve) {
  for (const double value : {kNaN, kInf, -kInf}) {
    for (const Problem& like : {rosenbrock_problem(3), bounded_rosenbrock(3)}) {
      Problem problem = like;
      problem.function = [=](const Vector&, Vector& g) {
        g = {0, value, 1};
        return 1.0;
      };
      Solve solve(problem);
      solve.finish();
      EXPECT_EQ(solve.solver.status(), Status::kNonFiniteStart) << value;
    }
  }
}

/// Σ(x_i - 1)², with something else beyond `wall` in the first variable.
Function with_wall(double wall, double f_there, double g_there) {
  return [=](const Vector& x, Vector& g) {
    double f = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      f += (x[i] - 1) * (x[i] - 1);
      g[i] = 2 * (x[i] - 1);
    }
    if (x[0] <= wall) return f;
    g[0] = g_there;
    return f_there;
  };
}

TEST(LbfgsbNonFiniteTest, SolveTurnsBackFromARegionWithoutValues) {
  const std::pair<double, double> walls[] = {{kNaN, 0}, {kInf, 0}, {0, kNaN}, {0, kInf}, {0, -kInf}, {kNaN, kNaN}};
  for (const auto& [f_there, g_there] : walls) {
    const Function function = with_wall(1.5, f_there, g_there);
    for (const double room : {0.0, 1000.0, kInf}) {
      Problem problem{function, {-40, 3}, {}, {}};
      // With finite bounds the first step is as long as the gradient, and goes beyond the wall.
      if (room > 0) problem.lower = Vector(2, -room);
      if (room > 0) problem.upper = Vector(2, room);
      Solve solve(problem);
      solve.finish();
      EXPECT_EQ(scipy_code(solve.solver.status()), 0) << f_there << ' ' << g_there << ' ' << room;
      EXPECT_NEAR(solve.x()[0], 1, 1e-5) << f_there << ' ' << g_there << ' ' << room;
      EXPECT_NEAR(solve.x()[1], 1, 1e-5);
    }
  }
}

TEST(LbfgsbNonFiniteTest, LogarithmicBarrierIsNotCrossed) {
  const auto barrier = [](const Vector& x, Vector& g) {
    g = {1 - 1 / x[0]};
    return x[0] - std::log(x[0]);
  };
  Solve solve({barrier, {60}, {-100}, {100}});
  solve.finish();
  EXPECT_EQ(scipy_code(solve.solver.status()), 0);
  EXPECT_NEAR(solve.x()[0], 1, 1e-4);
}

TEST(LbfgsbNonFiniteTest, NothingButNaNAfterTheStartFailsAtTheStart) {
  for (const double value : {kNaN, kInf}) {
    int evaluations = 0;
    Problem problem = rosenbrock_problem(4);
    problem.function = [&](const Vector& x, Vector& g) { return rosenbrock(x, g) + (++evaluations > 1 ? value : 0); };
    Solve solve(problem);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), Status::kLineSearchFailed) << value;
    EXPECT_EQ(solve.x(), problem.x0);
    expect_consistent(solve, rosenbrock);
  }
}

TEST(LbfgsbNonFiniteTest, NothingButNaNAfterSomeIterationsFailsAtTheLastOne) {
  for (const Problem& like : {rosenbrock_problem(4), bounded_rosenbrock(4)}) {
    int evaluations = 0;
    Problem problem = like;
    problem.function = [&](const Vector& x, Vector& g) { return rosenbrock(x, g) + (++evaluations > 10 ? kNaN : 0); };
    Solve solve(problem);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), Status::kLineSearchFailed);
    EXPECT_EQ(solve.x(), solve.iterates.back());
    EXPECT_EQ(solve.solver.num_corrections(), 0U);
    expect_consistent(solve, rosenbrock);
  }
}

}  // namespace
}  // namespace tfminimize::solvers
