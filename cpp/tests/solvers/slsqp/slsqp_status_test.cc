// How a solve can end, and what is in the solver then.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "solvers/slsqp/slsqp.h"
#include "tests/solvers/slsqp/constrained_solve.h"

namespace tfminimize::solvers {
namespace {

using testing::ConstrainedProblem;
using testing::ConstrainedSolve;
using testing::Derivatives;
using testing::dot;
using testing::expect_consistent;
using testing::inconsistent_at_the_start;
using testing::kInf;
using testing::linear;
using testing::Matrix;
using testing::product_on_a_sphere;
using testing::quadratic;
using testing::quartic;
using testing::Random;
using testing::rosen_suzuki;
using testing::rosenbrock_on_a_circle;
using testing::rosenbrock_problem;
using testing::sum_of_squares;
using testing::Vector;
using testing::without_constraints;

constexpr SlsqpStatus kAll[] = {
    SlsqpStatus::kRunning,
    SlsqpStatus::kConverged,
    SlsqpStatus::kTooManyEqualities,
    SlsqpStatus::kSubproblemLimit,
    SlsqpStatus::kInconsistent,
    SlsqpStatus::kSingularEqualities,
    SlsqpStatus::kNoDescent,
    SlsqpStatus::kMaxIterations,
    SlsqpStatus::kCallerStopped,
    SlsqpStatus::kNonFiniteStart,
    SlsqpStatus::kNonFiniteDerivatives,
    SlsqpStatus::kNonFiniteSearch,
    SlsqpStatus::kUnboundedBelow,
    SlsqpStatus::kGradientMismatch,
};

// Codes and messages.

TEST(SlsqpStatusTest, CodesAndMessagesAreThoseOfSciPy) {
  // scipy/optimize/_slsqp_py.py of SciPy 1.17.1.
  const struct {
    SlsqpStatus status;
    int code;
    const char* sentence;
  } expected[] = {
      {SlsqpStatus::kConverged, 0, "Optimization terminated successfully"},
      {SlsqpStatus::kTooManyEqualities, 2, "More equality constraints than independent variables"},
      {SlsqpStatus::kSubproblemLimit, 3, "More than 3*n iterations in LSQ subproblem"},
      {SlsqpStatus::kInconsistent, 4, "Inequality constraints incompatible"},
      {SlsqpStatus::kSingularEqualities, 6, "Singular matrix C in LSQ subproblem"},
      {SlsqpStatus::kNoDescent, 8, "Positive directional derivative for linesearch"},
      {SlsqpStatus::kMaxIterations, 9, "Iteration limit reached"},
  };
  for (const auto& [status, code, sentence] : expected) {
    EXPECT_EQ(scipy_code(status), code) << sentence;
    EXPECT_STREQ(message(status), sentence);
  }
}

TEST(SlsqpStatusTest, OnlyConvergenceIsSuccess) {
  for (const SlsqpStatus status : kAll) {
    EXPECT_EQ(scipy_code(status) == 0, status == SlsqpStatus::kConverged) << message(status);
  }
}

TEST(SlsqpStatusTest, StatusesThatSciPyDoesNotHaveShareACodeOfTheirOwn) {
  for (const SlsqpStatus status :
       {SlsqpStatus::kNonFiniteStart, SlsqpStatus::kNonFiniteDerivatives, SlsqpStatus::kNonFiniteSearch,
        SlsqpStatus::kUnboundedBelow, SlsqpStatus::kGradientMismatch}) {
    EXPECT_EQ(scipy_code(status), 10) << message(status);
  }
  EXPECT_EQ(scipy_code(SlsqpStatus::kCallerStopped), 99);
}

TEST(SlsqpStatusTest, NoTwoMessagesAreAlike) {
  std::set<std::string> messages;
  for (const SlsqpStatus status : kAll) EXPECT_TRUE(messages.insert(message(status)).second) << message(status);
}

// Convergence.

TEST(SlsqpConvergenceTest, StartAtTheMinimumNeedsNoSearch) {
  ConstrainedProblem problem = rosen_suzuki();
  problem.x0 = {0, 1, 2, -1};
  ConstrainedSolve solve(problem, {}, Derivatives::kApart);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_EQ(solve.solver.nit(), 1);
  EXPECT_EQ(solve.solver.nfev(), 1);
  EXPECT_EQ(solve.solver.njev(), 1);
  EXPECT_EQ(solve.iterates, std::vector<Vector>{problem.x0});
  EXPECT_TRUE(solve.solver.has_derivatives());
  expect_consistent(solve);
}

TEST(SlsqpConvergenceTest, ConstantFunctionConvergesAtOnce) {
  ConstrainedSolve solve({[](const Vector&, Vector& g) {
                            g = {0, 0};
                            return 3.0;
                          },
                          {1, 2},
                          {},
                          0,
                          {},
                          {},
                          {},
                          0});
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_EQ(solve.solver.fun(), 3);
}

TEST(SlsqpConvergenceTest, ConstantFunctionGoesToAFeasiblePoint) {
  ConstrainedProblem problem = rosenbrock_on_a_circle();
  problem.function = [](const Vector&, Vector& g) {
    g = {0, 0};
    return 3.0;
  };
  problem.x0 = {3, 4};
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_LE(solve.solver.constr_violation(), 1e-6);
}

TEST(SlsqpConvergenceTest, ToleranceIsThatOfTheCaller) {
  std::int64_t before = 0;
  for (const double ftol : {1e-1, 1e-4, 1e-8, 1e-12}) {
    ConstrainedSolve solve(product_on_a_sphere(), {ftol, 100});
    solve.finish();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
    EXPECT_LE(solve.solver.constr_violation(), ftol);
    EXPECT_GE(solve.solver.nit(), before);
    before = solve.solver.nit();
  }
}

TEST(SlsqpConvergenceTest, SmallChangeOfTheFunctionIsEnoughOnlyWhereTheConstraintsHold) {
  // f does not change at all; the constraint needs some steps.
  ConstrainedProblem problem;
  problem.x0 = {3};
  problem.num_equalities = 1;
  problem.function = [](const Vector&, Vector& g) {
    g = {0};
    return 1.0;
  };
  problem.constraints = {[](const Vector& x, Vector& g) {
    g = {3 * x[0] * x[0]};
    return x[0] * x[0] * x[0] - 1;
  }};
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_NEAR(solve.x()[0], 1, 1e-6);
  EXPECT_GT(solve.solver.nit(), 3);
}

// Limits.

TEST(SlsqpLimitsTest, NoIterationsEvaluatesTheStartAndStops) {
  for (const Derivatives derivatives : {Derivatives::kWithValues, Derivatives::kApart}) {
    ConstrainedSolve solve(product_on_a_sphere(), {1e-6, 0}, derivatives);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kMaxIterations);
    EXPECT_EQ(solve.solver.nit(), 0);
    EXPECT_EQ(solve.solver.nfev(), 1);
    EXPECT_EQ(solve.solver.njev(), 1);
    EXPECT_EQ(solve.x(), product_on_a_sphere().x0);
    EXPECT_TRUE(solve.iterates.empty());
    EXPECT_EQ(solve.solver.constr_violation(), 12);
    expect_consistent(solve);
  }
}

TEST(SlsqpLimitsTest, IterationsAreCountedExactly) {
  for (const std::int64_t maxiter : {1, 2, 7}) {
    ConstrainedSolve solve(without_constraints(rosenbrock_problem(4)), {1e-6, maxiter});
    solve.finish();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kMaxIterations);
    EXPECT_EQ(solve.solver.nit(), maxiter);
    EXPECT_EQ(solve.iterates.size(), static_cast<std::size_t>(maxiter));
    EXPECT_TRUE(solve.solver.has_derivatives());
    expect_consistent(solve);
  }
}

TEST(SlsqpLimitsTest, ConvergenceInTheLastIterationIsConvergence) {
  ConstrainedSolve unlimited(rosen_suzuki());
  unlimited.finish();
  ConstrainedSolve solve(rosen_suzuki(), {1e-6, unlimited.solver.nit()});
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  ConstrainedSolve one_less(rosen_suzuki(), {1e-6, unlimited.solver.nit() - 1});
  one_less.finish();
  EXPECT_EQ(one_less.solver.status(), SlsqpStatus::kMaxIterations);
}

TEST(SlsqpLimitsTest, FunctionWithoutAMinimumRunsIntoTheLimit) {
  ConstrainedProblem problem;
  problem.x0 = {0, 0};
  problem.function = [](const Vector& x, Vector& g) {
    g = {-1, -1};
    return -x[0] - x[1];
  };
  ConstrainedSolve solve(problem, {1e-6, 30});
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kMaxIterations);
  for (const double value : solve.x()) EXPECT_TRUE(std::isfinite(value));
}

// Constraints that cannot be satisfied.

TEST(SlsqpContradictionTest, MoreEqualitiesThanVariablesAreRefused) {
  for (const bool consistent : {false, true}) {
    ConstrainedProblem problem = sum_of_squares(2);
    problem.num_equalities = 3;
    for (const double row : {1.0, 2.0, 3.0}) {
      problem.constraints.push_back(linear({row, 1}, consistent ? -1 - row : row * row));
    }
    ConstrainedSolve solve(problem);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kTooManyEqualities);
    EXPECT_EQ(solve.x(), problem.x0);
    EXPECT_EQ(solve.solver.nfev(), 1);
    expect_consistent(solve);
  }
}

TEST(SlsqpContradictionTest, PaddingDoesNotCountAsVariables) {
  ConstrainedProblem problem = sum_of_squares(8);
  problem.x0 = {0.5, 0, 0, 0, 0, 0, 0, 0};
  problem.num_variables = 1;
  problem.num_equalities = 2;
  problem.constraints = {linear({1, 0, 0, 0, 0, 0, 0, 0}, -1), linear({2, 0, 0, 0, 0, 0, 0, 0}, -2)};
  ConstrainedSolve solve(problem);
  EXPECT_EQ(solve.finish().solver.status(), SlsqpStatus::kTooManyEqualities);
  problem.num_variables = 2;
  ConstrainedSolve enough(problem);
  EXPECT_EQ(enough.finish().solver.status(), SlsqpStatus::kConverged);
  EXPECT_NEAR(enough.x()[0], 1, 1e-12);
}

TEST(SlsqpContradictionTest, ContradictingInequalitiesAreFound) {
  ConstrainedProblem problem = sum_of_squares(2);
  problem.constraints = {linear({1, 0}, -1), linear({-1, 0}, 0)};  // x >= 1 and x <= 0
  for (const double start : {-3.0, 0.5, 4.0}) {
    problem.x0 = {start, 1};
    ConstrainedSolve solve(problem);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kInconsistent) << start;
    EXPECT_GE(solve.solver.constr_violation(), 0.5 - 1e-9);
    expect_consistent(solve);
  }
}

TEST(SlsqpContradictionTest, ConstraintThatContradictsTheBoundsIsFound) {
  ConstrainedProblem problem = sum_of_squares(2);
  problem.constraints = {linear({1, 1}, -5)};
  problem.lower = {0, 0};
  problem.upper = {1, 2};
  for (const std::size_t num_equalities : {0, 1}) {
    problem.num_equalities = num_equalities;
    ConstrainedSolve solve(problem);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kInconsistent);
    EXPECT_GE(solve.solver.constr_violation(), 2);
    for (const Vector& x : solve.evaluated) {
      EXPECT_LE(x[0], 1);
      EXPECT_LE(x[1], 2);
    }
  }
}

TEST(SlsqpContradictionTest, ContradictingEqualitiesAreFound) {
  ConstrainedProblem problem = sum_of_squares(3);
  problem.num_equalities = 2;
  problem.constraints = {linear({1, 1, 0}, -1), linear({2, 2, 0}, -4)};
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kSingularEqualities);
  expect_consistent(solve);
}

TEST(SlsqpContradictionTest, EqualitiesThatSayTheSameAreNoContradiction) {
  ConstrainedProblem problem = sum_of_squares(3);
  problem.num_equalities = 2;
  problem.constraints = {linear({1, 1, 0}, -1), linear({2, 2, 0}, -2), linear({1, 1, 0}, -1)};
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_NEAR(solve.x()[0], 0.5, 1e-9);
  EXPECT_NEAR(solve.x()[1], 0.5, 1e-9);
  EXPECT_NEAR(solve.x()[2], 0, 1e-9);
}

TEST(SlsqpContradictionTest, ConstraintThatDependsOnNothingIsNeverASuccess) {
  for (const std::size_t num_equalities : {0, 1}) {
    ConstrainedProblem problem = sum_of_squares(2);
    problem.num_equalities = num_equalities;
    problem.constraints = {linear({0, 0}, -1)};
    ConstrainedSolve solve(problem);
    solve.finish();
    EXPECT_NE(scipy_code(solve.solver.status()), 0);
    EXPECT_EQ(solve.solver.constr_violation(), 1);
  }
}

TEST(SlsqpContradictionTest, InfeasibleNonlinearConstraintsAreNeverASuccess) {
  // Two circles that do not meet, from many starting points.
  ConstrainedProblem problem = sum_of_squares(2);
  problem.constraints = {[](const Vector& x, Vector& g) {
                           g = {-2 * x[0], -2 * x[1]};
                           return 1 - dot(x, x);
                         },
                         [](const Vector& x, Vector& g) {
                           g = {-2 * (x[0] - 4), -2 * x[1]};
                           return 1 - (x[0] - 4) * (x[0] - 4) - x[1] * x[1];
                         }};
  Random random(1);
  for (int trial = 0; trial < 50; ++trial) {
    problem.x0 = random.vector(2, -6, 6);
    ConstrainedSolve solve(problem);
    solve.finish();
    EXPECT_NE(scipy_code(solve.solver.status()), 0) << trial;
    EXPECT_GT(solve.solver.constr_violation(), 1e-3);
    expect_consistent(solve);
  }
}

TEST(SlsqpContradictionTest, LinearisationThatContradictsItselfIsGotOver) {
  ConstrainedSolve solve(inconsistent_at_the_start());
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_NEAR(solve.x()[0], 2, 1e-6);
  EXPECT_NEAR(solve.x()[1], 1, 1e-5);
}

TEST(SlsqpContradictionTest, LargeGradientIsNoContradiction) {
  // f = scale·(x - 2)² - scale·y with x <= 1, y <= 1: SciPy ends with "Inequality constraints incompatible" from 1e8
  // on.
  for (const double scale : {1.0, 1e4, 1e8, 1e12}) {
    ConstrainedProblem problem;
    problem.x0 = {0, 0};
    problem.function = [=](const Vector& x, Vector& g) {
      g = {2 * scale * (x[0] - 2), -scale};
      return scale * (x[0] - 2) * (x[0] - 2) - scale * x[1];
    };
    problem.constraints = {linear({-1, 0}, 1), linear({0, -1}, 1)};
    ConstrainedSolve solve(problem);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged) << scale;
    EXPECT_NEAR(solve.x()[0], 1, 1e-9) << scale;
    EXPECT_NEAR(solve.x()[1], 1, 1e-9) << scale;
  }
}

// No descent.

TEST(SlsqpNoDescentTest, FiveStepsThatDoNotDescendEndTheSolve) {
  // At 0 the constraint -1 - x² >= 0 does not depend on x, and f is as low as it gets.
  ConstrainedProblem problem = sum_of_squares(1);
  problem.x0 = {0};
  problem.constraints = {[](const Vector& x, Vector& g) {
    g = {-2 * x[0]};
    return -1 - x[0] * x[0];
  }};
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kNoDescent);
  EXPECT_EQ(solve.solver.nit(), 5);  // B was reset to the identity each time.
  EXPECT_EQ(solve.x(), Vector{0});
  EXPECT_EQ(solve.solver.nfev(), 1);
  EXPECT_EQ(solve.solver.constr_violation(), 1);
  expect_consistent(solve);
}

TEST(SlsqpNoDescentTest, GradientOfTheWrongSignIsNeverASuccess) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    ConstrainedProblem problem = without_constraints(quadratic(1 + seed % 7, 100, seed));
    const testing::Function function = problem.function;
    problem.function = [=](const Vector& x, Vector& g) {
      const double f = function(x, g);
      for (double& value : g) value = -value;
      return f;
    };
    ConstrainedSolve solve(problem);
    solve.finish();
    EXPECT_NE(scipy_code(solve.solver.status()), 0) << seed;
  }
}

}  // namespace
}  // namespace tfminimize::solvers
