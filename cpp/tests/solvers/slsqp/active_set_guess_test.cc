// How a solver of quadratic programs uses the active set of the last program.

#include "solvers/slsqp/active_set_guess.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "solvers/slsqp/dual_active_set_qp.h"
#include "tests/solvers/kernels/reference.h"
#include "tests/solvers/slsqp/qp_problem.h"

namespace tfminimize::solvers {
namespace {

using testing::expect_solved;
using testing::kkt_residual;
using testing::Matrix;
using testing::QpProblem;
using testing::QpSolve;
using testing::Random;
using testing::random_qp;
using testing::relative_difference;
using testing::Vector;

/// Expects the solution that a new solver finds.
void expect_same(const QpSolve& used, const QpProblem& problem) {
  const QpSolve fresh(problem);
  ASSERT_EQ(used.status, fresh.status);
  if (fresh.status != QpStatus::kSolved) return;
  expect_solved(problem, used);
  EXPECT_LT(relative_difference(used.s(), fresh.s()), 1e-10);
  EXPECT_LT(relative_difference(used.multipliers(), fresh.multipliers()), 1e-8);
  EXPECT_LT(relative_difference(used.lower_multipliers(), fresh.lower_multipliers()), 1e-8);
  EXPECT_LT(relative_difference(used.upper_multipliers(), fresh.upper_multipliers()), 1e-8);
}

class ActiveSetGuessTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  static constexpr std::size_t kVariables = 24;
  static constexpr std::size_t kConstraints = 10;

  /// A program whose active set is not a vertex, without fixed variables.
  QpProblem make_problem() {
    QpProblem problem = random_qp({kVariables, kConstraints, 2, true, 0, 0.5}, random_);
    problem.gradient = random_.vector(kVariables);
    return problem;
  }

  Random random_{GetParam()};
  QpProblem problem_ = make_problem();
  QpSolve solve_{problem_};
};

TEST_P(ActiveSetGuessTest, FirstProgramIsSolvedWithoutOne) { EXPECT_FALSE(solve_.solver.guessed()); }

TEST_P(ActiveSetGuessTest, SameProgramIsSolvedWithoutPivots) {
  solve_.solve(problem_);
  EXPECT_TRUE(solve_.solver.guessed());
  EXPECT_EQ(solve_.solver.pivots(), 0U);
  expect_same(solve_, problem_);
}

TEST_P(ActiveSetGuessTest, ForgottenSetIsNotUsed) {
  const Vector s = solve_.s();
  solve_.solver.forget();
  solve_.solve(problem_);
  EXPECT_FALSE(solve_.solver.guessed());
  EXPECT_EQ(solve_.s(), s);
}

TEST_P(ActiveSetGuessTest, ConstraintsComeAndGo) {
  int guessed = 0;
  for (int round = 0; round < 40; ++round) {
    for (double& value : problem_.gradient) value += random_.uniform(-0.3, 0.3);
    solve_.solve(problem_);
    expect_same(solve_, problem_);
    guessed += solve_.solver.guessed() ? 1 : 0;
  }
  EXPECT_GT(guessed, 10);
}

TEST_P(ActiveSetGuessTest, ChangeOfTheModelIsFollowed) {
  int guessed = 0;
  for (int round = 0; round < 40; ++round) {
    Vector z = random_.vector(kVariables);
    const double sigma = std::pow(10.0, random_.uniform(-3, 1));
    for (std::size_t i = 0; i < kVariables; ++i) {
      for (std::size_t j = 0; j < kVariables; ++j) problem_.hessian(i, j) += sigma * z[i] * z[j];
    }
    solve_.change_model(problem_, sigma, z);
    solve_.solve(problem_);
    expect_same(solve_, problem_);
    guessed += solve_.solver.guessed() ? 1 : 0;
  }
  EXPECT_GT(guessed, 30);
}

TEST_P(ActiveSetGuessTest, RowsMayTurn) {
  for (int round = 0; round < 40; ++round) {
    const double change = std::pow(10.0, random_.uniform(-6, -1));
    for (std::size_t k = 2; k < kConstraints; ++k) {
      for (std::size_t i = 0; i < kVariables; ++i) problem_.jacobian(k, i) += random_.uniform(-change, change);
    }
    solve_.solve(problem_);
    expect_same(solve_, problem_);
  }
}

TEST_P(ActiveSetGuessTest, TurnedRowsAreNoHindrance) {
  int guessed = 0;
  for (int round = 0; round < 40; ++round) {
    for (std::size_t k = 0; k < kConstraints; ++k) {
      for (std::size_t i = 0; i < kVariables; ++i) problem_.jacobian(k, i) += random_.uniform(-1e-3, 1e-3);
    }
    Vector z = random_.vector(kVariables);
    for (std::size_t i = 0; i < kVariables; ++i) {
      for (std::size_t j = 0; j < kVariables; ++j) problem_.hessian(i, j) += 0.1 * z[i] * z[j];
    }
    solve_.change_model(problem_, 0.1, z);
    solve_.solve(problem_);
    expect_same(solve_, problem_);
    guessed += solve_.solver.guessed() ? 1 : 0;
  }
  EXPECT_GT(guessed, 30);
}

TEST_P(ActiveSetGuessTest, ManyRowsTurnComeAndGo) {
  QpProblem problem = random_qp({70, 150, 5, true, 0, 0.5}, random_);
  problem.gradient = random_.vector(70);
  QpSolve solve(problem);
  int guessed = 0;
  for (int round = 0; round < 12; ++round) {
    for (double& value : problem.gradient) value += random_.uniform(-0.3, 0.3);
    for (std::size_t k = round % 3 == 0 ? 0 : 140; k < 150; ++k) {
      for (std::size_t i = 0; i < 70; ++i) problem.jacobian(k, i) += random_.uniform(-1e-3, 1e-3);
    }
    solve.solve(problem);
    expect_same(solve, problem);
    guessed += solve.solver.guessed() ? 1 : 0;
  }
  EXPECT_GT(guessed, 0);
}

TEST_P(ActiveSetGuessTest, RowsThatAreNotFiniteAreNotGuessed) {
  for (const double value : {std::nan(""), testing::kInf}) {
    QpSolve solve(make_problem());
    QpProblem damaged = problem_;
    for (std::size_t k = 0; k < kConstraints; ++k) damaged.jacobian(k, 3) = value;
    solve.solve(damaged);
    EXPECT_FALSE(solve.solver.guessed());
    solve.solve(problem_);
    expect_same(solve, problem_);
  }
}

TEST_P(ActiveSetGuessTest, ScaleOfRowsDoesNotMatter) {
  for (const double scale : {1e-100, 1e-8, 1e8, 1e100}) {
    QpProblem problem = problem_;
    QpSolve solve(problem);
    for (std::size_t k = 0; k < kConstraints; ++k) {
      problem.constraints[k] *= scale;
      for (std::size_t i = 0; i < kVariables; ++i) problem.jacobian(k, i) *= scale;
    }
    solve.solve(problem);
    const QpSolve fresh(problem);
    ASSERT_EQ(solve.status, QpStatus::kSolved) << scale;
    EXPECT_LT(relative_difference(solve.s(), fresh.s()), 1e-9) << scale;
  }
}

TEST_P(ActiveSetGuessTest, ProgramWithoutASolutionIsFoundOut) {
  for (std::size_t i = 0; i < kVariables; ++i) problem_.jacobian(5, i) = -problem_.jacobian(4, i);
  problem_.constraints[5] = -problem_.constraints[4] - 1;
  EXPECT_EQ(solve_.solve(problem_), QpStatus::kInfeasible);
}

TEST_P(ActiveSetGuessTest, RelaxedProgramIsSolvedFromScratch) {
  QpProblem relaxed = problem_;
  relaxed.relaxation = Vector(kConstraints);
  relaxed.penalty = 1e4;
  solve_.solve(relaxed);
  EXPECT_FALSE(solve_.solver.guessed());
  EXPECT_LT(relative_difference(solve_.s(), QpSolve(problem_).s()), 1e-10);
  solve_.solve(problem_);
  EXPECT_FALSE(solve_.solver.guessed());
  expect_same(solve_, problem_);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ActiveSetGuessTest, ::testing::Range<std::uint64_t>(1, 7));

/// ½·|s|² + gᵀs with two rows, both active at the solution of most of the programs below.
QpProblem two_rows(double angle) {
  QpProblem problem(3, 2);
  problem.gradient = {9, 4, 3};
  problem.constraints = {-1, -1};
  problem.jacobian(0, 0) = 1;
  problem.jacobian(1, 0) = std::cos(angle);
  problem.jacobian(1, 1) = std::sin(angle);
  return problem;
}

TEST(ActiveSetGuessRowsTest, MultipliersOfRowsThatBecameOneAreThoseOfTheDualMethod) {
  QpSolve solve(two_rows(0.5));
  ASSERT_GT(solve.multipliers()[0], 0);
  ASSERT_GT(solve.multipliers()[1], 0);
  const QpProblem twins = two_rows(0);
  solve.solve(twins);
  expect_same(solve, twins);
}

TEST(ActiveSetGuessRowsTest, AnswerOfNearlyParallelRowsIsAccurate) {
  Random random(1);
  for (int round = 0; round < 500; ++round) {
    QpProblem problem = two_rows(1);
    problem.gradient = {0, 0, 0};
    for (std::size_t i = 0; i < 3; ++i) problem.jacobian(0, i) = random.uniform(-1, 1);
    problem.constraints[1] = 1;  // Not active ...
    QpSolve solve(problem);
    // ... until it nearly equals the first.
    const double factor = random.uniform(0.5, 2);
    const double angle = std::pow(10.0, random.uniform(-15, -8));
    for (std::size_t i = 0; i < 3; ++i) {
      problem.jacobian(1, i) = factor * problem.jacobian(0, i) * (1 + random.uniform(-angle, angle));
    }
    problem.constraints[1] = factor * problem.constraints[0];
    solve.solve(problem);
    ASSERT_EQ(solve.status, QpStatus::kSolved) << round;
    EXPECT_LT(kkt_residual(problem, solve), 1e-10) << angle;
  }
}

TEST(ActiveSetGuessRowsTest, BoundsMayDisappear) {
  QpProblem problem(2);
  problem.gradient = {5, -5};
  problem.lower = {-1, -1};
  problem.upper = {1, 1};
  QpSolve solve(problem);
  problem.lower[0] = -testing::kInf;
  solve.solve(problem);
  expect_same(solve, problem);
  problem.lower = problem.upper = {};
  solve.solve(problem);
  expect_same(solve, problem);
}

TEST(ActiveSetGuessRowsTest, InequalitiesMayBecomeEqualities) {
  QpProblem problem = two_rows(1.5);
  problem.constraints = {5, -1};  // The first is not active.
  problem.gradient = {-5, 4, 3};
  QpSolve solve(problem);
  problem.num_equalities = 1;
  solve.solve(problem);
  expect_same(solve, problem);
  problem.num_equalities = 0;
  solve.solve(problem);
  expect_same(solve, problem);
}

TEST(ActiveSetGuessRowsTest, FixedVariablesAreNoHindrance) {
  QpProblem problem(2);
  problem.gradient = {5, -5};
  problem.lower = {0.5, -1};
  problem.upper = {0.5, 1};
  QpSolve solve(problem);
  problem.gradient = {4, -6};
  solve.solve(problem);
  EXPECT_TRUE(solve.solver.guessed());
  expect_same(solve, problem);
}

TEST(ActiveSetGuessVisitTest, SolverGoesOnFromThePieces) {
  Random random(3);
  QpProblem problem = random_qp({9, 7, 1, false, 0.1}, random);
  QpSolve original(problem);
  std::vector<unsigned char> pieces;
  original.solver.visit_state([&](const void* piece, std::size_t bytes) {
    const auto* begin = static_cast<const unsigned char*>(piece);
    pieces.insert(pieces.end(), begin, begin + bytes);
  });
  QpSolve copy(9, 7);
  const unsigned char* next = pieces.data();
  copy.solver.visit_state([&](void* piece, std::size_t bytes) {
    std::copy_n(next, bytes, static_cast<unsigned char*>(piece));
    next += bytes;
  });
  for (double& value : problem.gradient) value += random.uniform(-0.1, 0.1);
  original.solve(problem);
  copy.solve(problem);
  EXPECT_TRUE(copy.solver.guessed());
  EXPECT_EQ(copy.s(), original.s());
  EXPECT_EQ(copy.multipliers(), original.multipliers());
}

TEST(ActiveSetGuessVisitTest, SolverGoesOnWhereNormalsHaveTurned) {
  Random random(4);
  QpProblem problem = random_qp({20, 14, 2, false, 0.1}, random);
  QpSolve original(problem);
  for (std::size_t k = 0; k < 14; ++k) {
    for (std::size_t i = 0; i < 20; ++i) problem.jacobian(k, i) += random.uniform(-1e-3, 1e-3);
  }
  const Vector z = random.vector(20);
  original.change_model(problem, 0.5, z);  // It notices that R is of no use.
  std::vector<unsigned char> pieces;
  original.solver.visit_state([&](const void* piece, std::size_t bytes) {
    const auto* begin = static_cast<const unsigned char*>(piece);
    pieces.insert(pieces.end(), begin, begin + bytes);
  });
  QpSolve copy(20, 14);
  const unsigned char* next = pieces.data();
  copy.solver.visit_state([&](void* piece, std::size_t bytes) {
    std::copy_n(next, bytes, static_cast<unsigned char*>(piece));
    next += bytes;
  });
  original.solve(problem);
  copy.solve(problem);
  EXPECT_TRUE(copy.solver.guessed());
  EXPECT_EQ(copy.s(), original.s());
  EXPECT_EQ(copy.multipliers(), original.multipliers());
}

}  // namespace
}  // namespace tfminimize::solvers
