// Calls and arguments that the solver refuses or accepts.

#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>
#include <utility>

#include "solvers/lbfgsb/lbfgsb.h"
#include "tests/solvers/solve.h"

namespace tfminimize::solvers {
namespace {

using testing::kNaN;
using testing::rosenbrock_problem;
using testing::Solve;
using testing::Vector;

TEST(LbfgsbCallerTest, StopEndsAfterAnIteration) {
  Solve solve(rosenbrock_problem(4));
  solve.advance_to(Request::kIteration);
  const Vector x = solve.x();
  solve.solver.stop();
  EXPECT_EQ(solve.solver.request(), Request::kStopped);
  EXPECT_EQ(solve.solver.status(), Status::kCallerStopped);
  EXPECT_EQ(solve.solver.nit(), 1);
  EXPECT_EQ(solve.x(), x);
}

TEST(LbfgsbCallerTest, TimeLimitReturnsToTheLastIterate) {
  for (int requests = 1; requests < 30; ++requests) {
    Solve solve(rosenbrock_problem(4));
    Vector iterate = solve.x();
    double f = kNaN;
    for (int i = 0; i < requests; ++i) {
      if (solve.advance() != Request::kIteration) continue;
      iterate = solve.x();
      f = solve.solver.fun();
    }
    solve.solver.stop(StopReason::kTimeLimit);
    EXPECT_EQ(solve.solver.status(), Status::kMaxTime);
    EXPECT_EQ(scipy_code(solve.solver.status()), 1);
    EXPECT_EQ(solve.x(), iterate);
    if (!std::isnan(f)) {
      EXPECT_EQ(solve.solver.fun(), f);
    }
  }
}

TEST(LbfgsbCallerTest, StopBeforeTheFirstEvaluationKeepsTheStart) {
  Solve solve(rosenbrock_problem(4));
  const Vector start = solve.x();
  solve.solver.stop(StopReason::kTimeLimit);
  EXPECT_EQ(solve.x(), start);
  EXPECT_TRUE(std::isnan(solve.solver.fun()));
}

TEST(LbfgsbCallerTest, AdvanceAfterTheEndIsAnError) {
  Solve solve(rosenbrock_problem(4));
  solve.finish();
  EXPECT_THROW(solve.solver.advance(0), std::logic_error);
}

TEST(LbfgsbCallerTest, SolverStartsWithARequest) {
  const Solve solve(rosenbrock_problem(4));
  EXPECT_EQ(solve.solver.request(), Request::kEvaluate);
  EXPECT_EQ(solve.solver.status(), Status::kRunning);
  EXPECT_EQ(solve.solver.nfev(), 0);
  EXPECT_EQ(solve.solver.nit(), 0);
}

TEST(LbfgsbCallerTest, MovedSolverGoesOn) {
  Solve reference(rosenbrock_problem(4));
  reference.finish();
  Solve solve(rosenbrock_problem(4));
  solve.advance_to(Request::kIteration);
  Lbfgsb moved = std::move(solve.solver);
  solve.solver = std::move(moved);
  solve.finish();
  EXPECT_EQ(solve.x(), reference.x());
}

class LbfgsbArgumentsTest : public ::testing::Test {
 protected:
  void expect_refusal() {
    solvers::Problem problem;
    problem.x = {x_.data(), x_.size()};
    problem.gradient = {gradient_.data(), gradient_.size()};
    problem.constraints = constraints_;
    problem.lower = lower_;
    problem.upper = upper_;
    EXPECT_THROW(Lbfgsb(problem, options_), std::invalid_argument);
  }

  testing::AlignedVector<double> x_ = {1, 2, 3};
  testing::AlignedVector<double> gradient_ = {0, 0, 0};
  Vector constraints_;
  Vector lower_;
  Vector upper_;
  LbfgsbOptions options_;
};

TEST_F(LbfgsbArgumentsTest, Constraints) {
  constraints_ = {0};
  expect_refusal();
}

TEST_F(LbfgsbArgumentsTest, NoVariables) {
  x_.clear();
  gradient_.clear();
  expect_refusal();
}

TEST_F(LbfgsbArgumentsTest, GradientOfAnotherSize) {
  gradient_.pop_back();
  expect_refusal();
}

TEST_F(LbfgsbArgumentsTest, OneBoundOnly) {
  lower_ = {0, 0, 0};
  expect_refusal();
}

TEST_F(LbfgsbArgumentsTest, BoundsOfAnotherSize) {
  lower_ = {0, 0};
  upper_ = {1, 1};
  expect_refusal();
}

TEST_F(LbfgsbArgumentsTest, LowerBoundAboveTheUpper) {
  lower_ = {0, 2, 0};
  upper_ = {1, 1, 1};
  expect_refusal();
}

TEST_F(LbfgsbArgumentsTest, BoundThatIsNaN) {
  lower_ = {0, kNaN, 0};
  upper_ = {1, 1, 1};
  expect_refusal();
}

TEST_F(LbfgsbArgumentsTest, NoCorrections) {
  options_.maxcor = 0;
  expect_refusal();
}

TEST_F(LbfgsbArgumentsTest, MoreCorrectionsThanMemoryHolds) {
  for (const std::int64_t maxcor : {std::int64_t{1} << 31, std::int64_t{1} << 60, std::int64_t{1} << 62}) {
    options_.maxcor = maxcor;
    expect_refusal();
  }
}

TEST_F(LbfgsbArgumentsTest, NoTrials) {
  options_.maxls = 0;
  expect_refusal();
}

}  // namespace
}  // namespace tfminimize::solvers
