// Saved and restored states.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "solvers/lbfgsb/lbfgsb.h"
#include "tests/solvers/solve.h"

namespace tfminimize::solvers {
namespace {

using testing::bounded_rosenbrock;
using testing::Problem;
using testing::quadratic;
using testing::Random;
using testing::rosenbrock_problem;
using testing::Solve;
using testing::Vector;

using Bytes = std::vector<std::uint8_t>;

LbfgsbOptions few_corrections(Storage storage = Storage::kFloat64) {
  LbfgsbOptions options;
  options.maxcor = 3;  // So that the oldest pairs are dropped.
  options.storage = storage;
  return options;
}

void expect_same_bits(const Vector& a, const Vector& b) {
  ASSERT_EQ(a.size(), b.size());
  if (a.empty()) return;
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(double)), 0);
}

void expect_same(const Solve& a, const Solve& b) {
  EXPECT_EQ(a.solver.request(), b.solver.request());
  EXPECT_EQ(a.solver.status(), b.solver.status());
  EXPECT_EQ(a.solver.nit(), b.solver.nit());
  EXPECT_EQ(a.solver.nfev(), b.solver.nfev());
  expect_same_bits({a.solver.fun()}, {b.solver.fun()});
  expect_same_bits(a.x(), b.x());
  expect_same_bits(a.gradient(), b.gradient());
  ASSERT_EQ(a.solver.num_corrections(), b.solver.num_corrections());
  const std::size_t size = a.solver.num_corrections() * a.solver.size();
  Vector s[2] = {Vector(size), Vector(size)};
  Vector y[2] = {Vector(size), Vector(size)};
  a.solver.copy_corrections(s[0], y[0]);
  b.solver.copy_corrections(s[1], y[1]);
  expect_same_bits(s[0], s[1]);
  expect_same_bits(y[0], y[1]);
}

/// Both to the end, with the same bits at each step.
void expect_same_ways(Solve& a, Solve& b) {
  expect_same(a, b);
  while (a.solver.request() != Request::kStopped && !::testing::Test::HasFailure()) {
    ASSERT_NE(b.solver.request(), Request::kStopped);
    a.advance();
    b.advance();
    expect_same(a, b);
  }
}

/// The same problem from another start, so the start cannot help.
Problem elsewhere(Problem problem) {
  for (std::size_t i = 0; i < problem.x0.size(); ++i) problem.x0[i] = 0.9 + 0.001 * static_cast<double>(i);
  return problem;
}

struct NamedProblem {
  std::string name;
  Problem problem;
  Storage storage = Storage::kFloat64;
};

std::ostream& operator<<(std::ostream& out, const NamedProblem& p) { return out << p.name; }

class LbfgsbStateTest : public ::testing::TestWithParam<NamedProblem> {
 protected:
  const Problem& problem_ = GetParam().problem;
  const LbfgsbOptions options_ = few_corrections(GetParam().storage);

  /// Calls check(solve) with a solve after each of its steps.
  template <typename Check>
  void after_each_step(const Check& check) {
    Solve counting(problem_, options_);
    std::size_t steps = 0;
    for (; counting.solver.request() != Request::kStopped; ++steps) counting.advance();
    for (std::size_t step = 0; step <= steps; ++step) {
      Solve solve(problem_, options_);
      for (std::size_t k = 0; k < step; ++k) solve.advance();
      check(solve);
      if (HasFailure()) FAIL() << "after step " << step;
    }
  }
};

TEST_P(LbfgsbStateTest, FreshSolverGoesOnWithTheSameBits) {
  after_each_step([&](Solve& solve) {
    Solve restored(elsewhere(problem_), options_);
    restored.solver.restore(solve.solver.save());
    expect_same_ways(solve, restored);
  });
}

TEST_P(LbfgsbStateTest, UsedSolverGoesOnWithTheSameBits) {
  after_each_step([&](Solve& solve) {
    for (const int used : {1, 9, 10, 11, 30}) {
      Solve original(problem_, options_);
      original.solver.restore(solve.solver.save());
      Solve restored(elsewhere(problem_), options_);
      for (int k = 0; k < used && restored.solver.request() != Request::kStopped; ++k) restored.advance();
      restored.solver.restore(solve.solver.save());
      expect_same_ways(original, restored);
    }
  });
}

TEST_P(LbfgsbStateTest, RestartedSolverGoesTheWayOfANewOne) {
  Solve other(elsewhere(problem_), options_);
  other.finish();
  other.restart(problem_.x0);
  Solve fresh(problem_, options_);
  expect_same_ways(other, fresh);
  after_each_step([&](Solve& solve) {
    solve.restart(problem_.x0);
    Solve unused(problem_, options_);
    expect_same_ways(solve, unused);
  });
}

TEST_P(LbfgsbStateTest, SavingChangesNothing) {
  Solve undisturbed(problem_, options_);
  undisturbed.finish();
  Solve solve(problem_, options_);
  while (solve.solver.request() != Request::kStopped) {
    solve.solver.save();
    solve.advance();
  }
  expect_same(solve, undisturbed);
}

TEST_P(LbfgsbStateTest, SolverThatHasStoppedStaysStopped) {
  Solve solve(problem_, options_);
  solve.finish();
  Solve restored(elsewhere(problem_), options_);
  restored.solver.restore(solve.solver.save());
  expect_same(solve, restored);
  EXPECT_THROW(restored.solver.advance(0), std::logic_error);
}

TEST_P(LbfgsbStateTest, SolveThatALimitHasEndedGoesOnWithAnother) {
  Solve whole(problem_, few_corrections());
  whole.finish();
  for (const bool counts_iterations : {true, false}) {
    for (std::int64_t limit = 0; limit < whole.solver.nit(); ++limit) {
      LbfgsbOptions options = few_corrections();
      (counts_iterations ? options.maxiter : options.maxfun) = limit;
      Solve ended(problem_, options);
      ended.finish();
      EXPECT_EQ(ended.solver.status(), counts_iterations ? Status::kMaxIterations : Status::kMaxEvaluations);
      Solve resumed(elsewhere(problem_), few_corrections());
      resumed.solver.restore(ended.solver.save());
      resumed.solver.resume(few_corrections());
      expect_same(resumed.finish(), whole);
    }
  }
}

TEST_P(LbfgsbStateTest, SolveThatHasEndedForGoodEndsAgain) {
  Solve whole(problem_, few_corrections());
  whole.finish();
  Solve resumed(elsewhere(problem_), few_corrections());
  resumed.solver.restore(whole.solver.save());
  resumed.solver.resume(few_corrections());
  resumed.finish();
  expect_same(resumed, whole);
  EXPECT_TRUE(resumed.evaluated.empty());
}

TEST_P(LbfgsbStateTest, SolverTakesPairsOfAnotherAndAllocatesNothing) {
  Solve other(problem_, few_corrections());
  other.finish();
  Solve solve(elsewhere(problem_), few_corrections());
  {
    const testing::AllocationsCounted counted(solve.allocations);
    ASSERT_TRUE(solve.solver.warm_start(other.solver));
  }
  EXPECT_EQ(solve.allocations, 0U);
  const std::size_t size = other.solver.num_corrections() * other.solver.size();
  ASSERT_EQ(solve.solver.num_corrections(), other.solver.num_corrections());
  Vector s[2] = {Vector(size), Vector(size)};
  Vector y[2] = {Vector(size), Vector(size)};
  other.solver.copy_corrections(s[0], y[0]);
  solve.solver.copy_corrections(s[1], y[1]);
  expect_same_bits(s[0], s[1]);
  expect_same_bits(y[0], y[1]);
  solve.finish();
  EXPECT_EQ(scipy_code(solve.solver.status()), 0);
}

TEST_P(LbfgsbStateTest, RestartForgetsPairsThatWereTaken) {
  Solve other(problem_, few_corrections());
  other.finish();
  Solve solve(problem_, few_corrections());
  solve.solver.warm_start(other.solver);
  solve.restart(problem_.x0);
  Solve fresh(problem_, few_corrections());
  expect_same_ways(solve, fresh);
}

TEST_P(LbfgsbStateTest, TruncatedStateIsRefusedAndChangesNothing) {
  Solve source(problem_, options_);
  for (int k = 0; k < 12; ++k) source.advance();
  const Bytes state = source.solver.save();
  for (std::size_t size = 0; size < state.size(); size += 1 + size / 16) {
    Solve undisturbed(problem_, options_);
    Solve solve(problem_, options_);
    const Bytes cut(state.begin(), state.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(solve.solver.restore(cut), std::invalid_argument) << size;
    expect_same_ways(solve, undisturbed);
    if (HasFailure()) FAIL() << "cut to " << size << " of " << state.size();
  }
}

TEST_P(LbfgsbStateTest, LongerStateIsRefused) {
  Solve source(problem_, options_);
  source.advance();
  Bytes state = source.solver.save();
  state.push_back(0);
  Solve solve(problem_, options_);
  EXPECT_THROW(solve.solver.restore(state), std::invalid_argument);
}

TEST_P(LbfgsbStateTest, DamagedStateIsRefused) {
  Solve source(problem_, options_);
  for (int k = 0; k < 12; ++k) source.advance();
  const Bytes state = source.solver.save();
  Random random(1);
  for (int trial = 0; trial < 50; ++trial) {
    Bytes damaged = state;
    damaged[random.below(state.size())] ^= static_cast<std::uint8_t>(1 + random.below(255));
    Solve solve(problem_, options_);
    EXPECT_THROW(solve.solver.restore(damaged), std::invalid_argument) << trial;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Problems, LbfgsbStateTest,
    ::testing::Values(NamedProblem{"Unbounded", rosenbrock_problem(5)},
                      NamedProblem{"Bounded", bounded_rosenbrock(11, 4)}, NamedProblem{"Quadratic", quadratic(16, 30)},
                      NamedProblem{"UnboundedFloat32", rosenbrock_problem(5), Storage::kFloat32},
                      NamedProblem{"BoundedFloat32", bounded_rosenbrock(11, 4), Storage::kFloat32}),
    [](const auto& p) { return p.param.name; });

TEST(LbfgsbWarmStartTest, DistantBoundsDoNotChangeTheFirstStep) {
  Problem problem = rosenbrock_problem(11);
  Solve other(problem);
  for (int k = 0; k < 20; ++k) other.advance();
  problem.x0 = other.x();
  Problem bounded = problem;
  bounded.lower = Vector(11, -1e6);
  bounded.upper = Vector(11, 1e6);
  Solve without(problem);
  Solve with(bounded);
  for (Solve* solve : {&without, &with}) {
    ASSERT_TRUE(solve->solver.warm_start(other.solver));
    solve->advance();
  }
  EXPECT_NE(without.x(), problem.x0);
  for (std::size_t i = 0; i < 11; ++i) EXPECT_NEAR(without.x()[i], with.x()[i], 1e-9);
}

TEST(LbfgsbForeignStateTest, AnotherSizeIsRefused) {
  const Bytes state = Solve(quadratic(5, 2)).solver.save();
  for (const std::size_t n : {4, 6, 8}) {
    Solve solve(quadratic(n, 2));
    EXPECT_THROW(solve.solver.restore(state), std::invalid_argument);
  }
}

TEST(LbfgsbForeignStateTest, AnotherNumberOfCorrectionsIsRefused) {
  const Bytes state = Solve(quadratic(5, 2)).solver.save();
  Solve solve(quadratic(5, 2), few_corrections());
  EXPECT_THROW(solve.solver.restore(state), std::invalid_argument);
}

TEST(LbfgsbForeignStateTest, BoundsWhereThereWereNoneAreRefused) {
  const Bytes bounded = Solve(bounded_rosenbrock(5)).solver.save();
  const Bytes unbounded = Solve(rosenbrock_problem(5)).solver.save();
  EXPECT_THROW(Solve(bounded_rosenbrock(5)).solver.restore(unbounded), std::invalid_argument);
  EXPECT_THROW(Solve(rosenbrock_problem(5)).solver.restore(bounded), std::invalid_argument);
}

TEST(LbfgsbForeignStateTest, EmptyStateIsRefused) {
  EXPECT_THROW(Solve(quadratic(5, 2)).solver.restore(Bytes()), std::invalid_argument);
}

TEST(LbfgsbForeignStateTest, RandomBytesAreRefused) {
  Random random(2);
  const std::size_t size = Solve(quadratic(5, 2)).solver.save().size();
  for (int trial = 0; trial < 20; ++trial) {
    Bytes bytes(size);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.below(256));
    EXPECT_THROW(Solve(quadratic(5, 2)).solver.restore(bytes), std::invalid_argument);
  }
}

}  // namespace
}  // namespace tfminimize::solvers
