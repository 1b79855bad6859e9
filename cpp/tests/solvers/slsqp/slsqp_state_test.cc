// Saved and restored states.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "solvers/slsqp/slsqp.h"
#include "tests/solvers/slsqp/constrained_solve.h"

namespace tfminimize::solvers {
namespace {

using testing::bounded_rosenbrock;
using testing::ConstrainedProblem;
using testing::ConstrainedSolve;
using testing::Derivatives;
using testing::inconsistent_at_the_start;
using testing::product_on_a_sphere;
using testing::quartic;
using testing::Random;
using testing::rosen_suzuki;
using testing::rosenbrock_on_a_circle;
using testing::rosenbrock_problem;
using testing::Vector;
using testing::without_constraints;

using Bytes = std::vector<std::uint8_t>;

void expect_same_bits(const Vector& a, const Vector& b) {
  ASSERT_EQ(a.size(), b.size());
  if (a.empty()) return;
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(double)), 0);
}

void expect_same(const ConstrainedSolve& a, const ConstrainedSolve& b) {
  EXPECT_EQ(a.solver.request(), b.solver.request());
  EXPECT_EQ(a.solver.status(), b.solver.status());
  EXPECT_EQ(a.solver.nit(), b.solver.nit());
  EXPECT_EQ(a.solver.nfev(), b.solver.nfev());
  EXPECT_EQ(a.solver.njev(), b.solver.njev());
  EXPECT_EQ(a.solver.expects_derivatives(), b.solver.expects_derivatives());
  EXPECT_EQ(a.solver.has_derivatives(), b.solver.has_derivatives());
  expect_same_bits({a.solver.fun(), a.solver.constr_violation()}, {b.solver.fun(), b.solver.constr_violation()});
  expect_same_bits(a.x(), b.x());
  expect_same_bits(a.constraints(), b.constraints());
  expect_same_bits(a.multipliers(), b.multipliers());
  expect_same_bits(a.gradient(), b.gradient());
  expect_same_bits(a.jacobian(), b.jacobian());
}

/// Both to the end, with the same bits at each step.
void expect_same_ways(ConstrainedSolve& a, ConstrainedSolve& b) {
  expect_same(a, b);
  while (a.solver.request() != Request::kStopped && !::testing::Test::HasFailure()) {
    ASSERT_NE(b.solver.request(), Request::kStopped);
    a.advance();
    b.advance();
    expect_same(a, b);
  }
}

/// The same problem from another start, so the start cannot help.
ConstrainedProblem elsewhere(ConstrainedProblem problem) {
  for (std::size_t i = 0; i < problem.x0.size(); ++i) problem.x0[i] = 0.9 + 0.01 * static_cast<double>(i);
  return problem;
}

struct NamedProblem {
  std::string name;
  ConstrainedProblem problem;
  Derivatives derivatives = Derivatives::kWithValues;
};

std::ostream& operator<<(std::ostream& out, const NamedProblem& p) { return out << p.name; }

class SlsqpStateTest : public ::testing::TestWithParam<NamedProblem> {
 protected:
  struct Start : ConstrainedSolve {
    explicit Start(const ConstrainedProblem& problem)
        : ConstrainedSolve(problem, {1e-10, 40}, GetParam().derivatives) {}
  };

  /// Calls check(solve) with a solve after each of its steps.
  template <typename Check>
  void after_each_step(const Check& check) {
    Start counting(problem_);
    std::size_t steps = 0;
    for (; counting.solver.request() != Request::kStopped; ++steps) counting.advance();
    ASSERT_GT(steps, 8U);
    for (std::size_t step = 0; step <= steps; ++step) {
      Start solve(problem_);
      for (std::size_t k = 0; k < step; ++k) solve.advance();
      check(solve);
      if (HasFailure()) FAIL() << "after step " << step;
    }
  }

  const ConstrainedProblem& problem_ = GetParam().problem;
};

TEST_P(SlsqpStateTest, FreshSolverGoesOnWithTheSameBits) {
  after_each_step([&](Start& solve) {
    Start restored(elsewhere(problem_));
    restored.solver.restore(solve.solver.save());
    expect_same_ways(solve, restored);
  });
}

TEST_P(SlsqpStateTest, UsedSolverGoesOnWithTheSameBits) {
  after_each_step([&](Start& solve) {
    for (const int used : {1, 5, 12, 30}) {
      Start original(problem_);
      original.solver.restore(solve.solver.save());
      Start restored(elsewhere(problem_));
      for (int k = 0; k < used && restored.solver.request() != Request::kStopped; ++k) restored.advance();
      restored.solver.restore(solve.solver.save());
      expect_same_ways(original, restored);
    }
  });
}

TEST_P(SlsqpStateTest, RestartedSolverGoesTheWayOfANewOne) {
  Start other(elsewhere(problem_));
  other.finish();
  other.restart(problem_.x0);
  Start fresh(problem_);
  expect_same_ways(other, fresh);
  after_each_step([&](Start& solve) {
    solve.restart(problem_.x0);
    Start unused(problem_);
    expect_same_ways(solve, unused);
  });
}

TEST_P(SlsqpStateTest, SavingChangesNothing) {
  Start undisturbed(problem_);
  undisturbed.finish();
  Start solve(problem_);
  while (solve.solver.request() != Request::kStopped) {
    solve.solver.save();
    solve.advance();
  }
  expect_same(solve, undisturbed);
}

TEST_P(SlsqpStateTest, StateSavedAfterRestoringIsTheSame) {
  after_each_step([&](Start& solve) {
    Start restored(elsewhere(problem_));
    const Bytes state = solve.solver.save();
    restored.solver.restore(state);
    EXPECT_EQ(restored.solver.save(), state);
  });
}

TEST_P(SlsqpStateTest, SolverThatHasStoppedStaysStopped) {
  Start solve(problem_);
  solve.finish();
  Start restored(elsewhere(problem_));
  restored.solver.restore(solve.solver.save());
  expect_same(solve, restored);
  EXPECT_THROW(restored.solver.advance(0), std::logic_error);
}

TEST_P(SlsqpStateTest, SolveThatTheLimitHasEndedGoesOnWithAnother) {
  Start whole(problem_);
  whole.finish();
  for (std::int64_t limit = 0; limit < whole.solver.nit(); ++limit) {
    ConstrainedSolve ended(problem_, {1e-10, limit}, GetParam().derivatives);
    ended.finish();
    EXPECT_EQ(ended.solver.status(), SlsqpStatus::kMaxIterations);
    Start resumed(elsewhere(problem_));
    resumed.solver.restore(ended.solver.save());
    resumed.solver.resume({1e-10, 40});
    expect_same(resumed.finish(), whole);
  }
}

TEST_P(SlsqpStateTest, SolveThatTheTimeLimitHasEndedGoesOn) {
  Start whole(problem_);
  whole.finish();
  for (int steps = 1;; ++steps) {
    Start ended(problem_);
    for (int i = 0; i < steps && ended.solver.request() != Request::kStopped; ++i) ended.advance();
    if (ended.solver.request() == Request::kStopped) break;
    ended.solver.stop(StopReason::kTimeLimit);
    Start resumed(elsewhere(problem_));
    resumed.solver.restore(ended.solver.save());
    resumed.solver.resume({1e-10, 40});
    resumed.finish();
    EXPECT_EQ(resumed.x(), whole.x()) << steps;
    EXPECT_EQ(resumed.solver.fun(), whole.solver.fun());
    EXPECT_EQ(resumed.solver.status(), whole.solver.status());
    EXPECT_EQ(resumed.solver.nit(), whole.solver.nit());
    EXPECT_EQ(resumed.multipliers(), whole.multipliers());
  }
}

TEST_P(SlsqpStateTest, SolveThatHasEndedForGoodEndsAgain) {
  Start whole(problem_);
  whole.finish();
  Start resumed(elsewhere(problem_));
  resumed.solver.restore(whole.solver.save());
  resumed.solver.resume({1e-10, 40});
  resumed.finish();
  expect_same(resumed, whole);
  EXPECT_TRUE(resumed.evaluated.empty());
}

TEST_P(SlsqpStateTest, SolveThatHasConvergedGoesOnWithASmallerTolerance) {
  ConstrainedSolve rough(problem_, {1e-2, 100}, GetParam().derivatives);
  rough.finish();
  ASSERT_EQ(rough.solver.status(), SlsqpStatus::kConverged);
  Start resumed(elsewhere(problem_));
  resumed.solver.restore(rough.solver.save());
  resumed.solver.resume({1e-10, 100});
  resumed.finish();
  EXPECT_EQ(resumed.solver.status(), SlsqpStatus::kConverged);
  EXPECT_GT(resumed.solver.nit(), rough.solver.nit());
}

TEST_P(SlsqpStateTest, SolverTakesTheMatrixOfAnother) {
  Start other(problem_);
  other.finish();
  ConstrainedProblem beside = problem_;
  beside.x0 = other.x();
  for (double& x : beside.x0) x += 1e-3;
  Start solve(beside);
  ASSERT_TRUE(solve.solver.warm_start(other.solver));
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_LE(solve.solver.fun(), other.solver.fun() + 1e-6);  // Some reach the limit first.
  EXPECT_LT(solve.solver.nfev(), other.solver.nfev());
  solve.restart(problem_.x0);
  Start fresh(problem_);
  expect_same_ways(solve, fresh);
}

TEST_P(SlsqpStateTest, SolverThatWasMovedGoesOn) {
  Start undisturbed(problem_);
  undisturbed.finish();
  Start solve(problem_);
  for (int k = 0; k < 6; ++k) solve.advance();
  Slsqp moved = std::move(solve.solver);
  solve.solver = std::move(moved);
  solve.finish();
  expect_same(solve, undisturbed);
}

TEST_P(SlsqpStateTest, TruncatedStateIsRefusedAndChangesNothing) {
  Start source(problem_);
  for (int k = 0; k < 12; ++k) source.advance();
  const Bytes state = source.solver.save();
  for (std::size_t size = 0; size < state.size(); size += 1 + size / 16) {
    Start undisturbed(problem_);
    Start solve(problem_);
    const Bytes cut(state.begin(), state.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(solve.solver.restore(cut), std::invalid_argument) << size;
    expect_same_ways(solve, undisturbed);
    if (HasFailure()) FAIL() << "cut to " << size << " of " << state.size();
  }
}

TEST_P(SlsqpStateTest, LongerStateIsRefused) {
  Start source(problem_);
  source.advance();
  Bytes state = source.solver.save();
  state.push_back(0);
  Start solve(problem_);
  EXPECT_THROW(solve.solver.restore(state), std::invalid_argument);
}

TEST_P(SlsqpStateTest, DamagedStateIsRefused) {
  Start source(problem_);
  for (int k = 0; k < 12; ++k) source.advance();
  const Bytes state = source.solver.save();
  Random random(1);
  for (int round = 0; round < 50; ++round) {
    Bytes damaged = state;
    damaged[random.below(state.size())] ^= static_cast<std::uint8_t>(1 + random.below(255));
    Start undisturbed(problem_);
    Start solve(problem_);
    EXPECT_THROW(solve.solver.restore(damaged), std::invalid_argument) << round;
    expect_same(solve, undisturbed);
  }
}

INSTANTIATE_TEST_SUITE_P(Problems, SlsqpStateTest,
                         ::testing::Values(NamedProblem{"Unconstrained", without_constraints(rosenbrock_problem(5))},
                                           NamedProblem{"BoundsAlone", without_constraints(bounded_rosenbrock(11, 4))},
                                           NamedProblem{"Inequalities", rosen_suzuki()},
                                           NamedProblem{"DerivativesApart", rosen_suzuki(), Derivatives::kApart},
                                           NamedProblem{"Everything", product_on_a_sphere()},
                                           NamedProblem{"LinearRows", quartic(17)},
                                           NamedProblem{"LinearRowsDerivativesApart", quartic(17), Derivatives::kApart},
                                           NamedProblem{"Equality", rosenbrock_on_a_circle(), Derivatives::kApart},
                                           NamedProblem{"Relaxed", inconsistent_at_the_start()}),
                         [](const auto& p) { return p.param.name; });

TEST(SlsqpForeignStateTest, AnotherSizeIsRefused) {
  const Bytes state = ConstrainedSolve(quartic(5)).solver.save();
  for (const std::size_t n : {4, 6, 8}) {
    ConstrainedSolve solve(quartic(n));
    EXPECT_THROW(solve.solver.restore(state), std::invalid_argument);
  }
}

TEST(SlsqpForeignStateTest, AnotherNumberOfConstraintsIsRefused) {
  const Bytes state = ConstrainedSolve(rosen_suzuki()).solver.save();
  ConstrainedProblem problem = rosen_suzuki();
  problem.constraints.pop_back();
  EXPECT_THROW(ConstrainedSolve(problem).solver.restore(state), std::invalid_argument);
}

TEST(SlsqpForeignStateTest, AnotherNumberOfEqualitiesIsRefused) {
  const Bytes state = ConstrainedSolve(rosen_suzuki()).solver.save();
  ConstrainedProblem problem = rosen_suzuki();
  problem.num_equalities = 1;
  EXPECT_THROW(ConstrainedSolve(problem).solver.restore(state), std::invalid_argument);
}

TEST(SlsqpForeignStateTest, BoundsWhereThereWereNoneAreRefused) {
  const ConstrainedProblem unbounded = rosen_suzuki();
  ConstrainedProblem bounded = unbounded;
  bounded.lower = Vector(4, -5);
  bounded.upper = Vector(4, 5);
  const Bytes with = ConstrainedSolve(bounded).solver.save();
  const Bytes without = ConstrainedSolve(unbounded).solver.save();
  EXPECT_THROW(ConstrainedSolve(bounded).solver.restore(without), std::invalid_argument);
  EXPECT_THROW(ConstrainedSolve(unbounded).solver.restore(with), std::invalid_argument);
}

TEST(SlsqpForeignStateTest, LinearConstraintsWhereThereWereNoneAreRefused) {
  ConstrainedProblem problem = quartic(5);
  const Bytes state = ConstrainedSolve(problem).solver.save();
  problem.offsets.clear();
  EXPECT_THROW(ConstrainedSolve(problem).solver.restore(state), std::invalid_argument);
}

TEST(SlsqpForeignStateTest, AnotherAmountOfPaddingIsRefused) {
  ConstrainedProblem problem = rosen_suzuki();
  const Bytes state = ConstrainedSolve(problem).solver.save();
  problem.num_variables = 3;
  EXPECT_THROW(ConstrainedSolve(problem).solver.restore(state), std::invalid_argument);
}

TEST(SlsqpForeignStateTest, StateOfAnotherSolverIsRefused) {
  const Bytes state = testing::Solve(rosenbrock_problem(5)).solver.save();
  EXPECT_THROW(ConstrainedSolve(without_constraints(rosenbrock_problem(5))).solver.restore(state),
               std::invalid_argument);
  const Bytes other = ConstrainedSolve(without_constraints(rosenbrock_problem(5))).solver.save();
  EXPECT_THROW(testing::Solve(rosenbrock_problem(5)).solver.restore(other), std::invalid_argument);
}

TEST(SlsqpForeignStateTest, EmptyStateIsRefused) {
  EXPECT_THROW(ConstrainedSolve(rosen_suzuki()).solver.restore(Bytes()), std::invalid_argument);
}

TEST(SlsqpForeignStateTest, RandomBytesAreRefused) {
  Random random(2);
  const std::size_t size = ConstrainedSolve(rosen_suzuki()).solver.save().size();
  for (int round = 0; round < 20; ++round) {
    Bytes bytes(size);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.below(256));
    EXPECT_THROW(ConstrainedSolve(rosen_suzuki()).solver.restore(bytes), std::invalid_argument);
  }
}

}  // namespace
}  // namespace tfminimize::solvers
