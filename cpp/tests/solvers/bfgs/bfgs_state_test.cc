// Saved and restored states of Bfgs.

#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "solvers/bfgs/bfgs.h"
#include "tests/solvers/solve.h"

namespace tfminimize::solvers {
namespace {

using testing::BfgsSolve;
using testing::kNaN;
using testing::Problem;
using testing::quadratic;
using testing::rosenbrock_problem;
using testing::Vector;

using Bytes = std::vector<std::uint8_t>;

void expect_same(const BfgsSolve& a, const BfgsSolve& b) {
  EXPECT_EQ(a.solver.request(), b.solver.request());
  EXPECT_EQ(a.solver.status(), b.solver.status());
  EXPECT_EQ(a.solver.nit(), b.solver.nit());
  EXPECT_EQ(a.solver.nfev(), b.solver.nfev());
  EXPECT_EQ(a.solver.njev(), b.solver.njev());
  EXPECT_EQ(a.solver.fun(), b.solver.fun());
  EXPECT_EQ(a.x(), b.x());
  const std::size_t n = a.solver.size();
  Vector h[2] = {Vector(n * n), Vector(n * n)};
  a.solver.copy_inverse_hessian(h[0]);
  b.solver.copy_inverse_hessian(h[1]);
  EXPECT_EQ(h[0], h[1]);
}

/// Both to the end, with the same bits at each step.
void expect_same_ways(BfgsSolve& a, BfgsSolve& b) {
  expect_same(a, b);
  while (a.solver.request() != Request::kStopped && !::testing::Test::HasFailure()) {
    ASSERT_EQ(a.solver.request(), b.solver.request());
    a.advance();
    b.advance();
    expect_same(a, b);
  }
}

/// The same problem from another start, so the start cannot help.
Problem elsewhere(Problem problem) {
  for (double& x : problem.x0) x = 0.9;
  return problem;
}

/// A search that needs the second line search, with trials that are not finite.
Problem walled(std::size_t n) {
  const auto function = [](const Vector& x, Vector& g) {
    double f = testing::rosenbrock(x, g);
    if (x[0] > 1.05) f = kNaN;
    return f;
  };
  return {function, rosenbrock_problem(n).x0, {}, {}};
}

class BfgsStateTest : public ::testing::TestWithParam<BfgsUpdate> {
 protected:
  BfgsStateTest() {
    options_.update = GetParam();
    options_.maxiter = 25;
  }

  /// Calls check(solve) with a solve after each of its steps.
  template <typename Check>
  void after_each_step(const Check& check) {
    for (const Problem& problem : {rosenbrock_problem(5), walled(9), quadratic(16, 30)}) {
      for (const bool alone : {false, true}) {
        for (std::size_t step = 0; !HasFailure(); ++step) {
          BfgsSolve solve(problem, options_);
          solve.gives_values_alone = alone;
          std::size_t k = 0;
          for (; k < step && solve.solver.request() != Request::kStopped; ++k) solve.advance();
          check(solve);
          if (k < step) break;
        }
      }
    }
  }

  BfgsOptions options_;
};

TEST_P(BfgsStateTest, AnotherSolverGoesOnWithTheSameBits) {
  after_each_step([&](BfgsSolve& solve) {
    for (const int used : {0, 1, 9, 30}) {
      BfgsSolve original(solve.problem(), options_);
      original.solver.restore(solve.solver.save());
      BfgsSolve restored(elsewhere(solve.problem()), options_);
      original.gives_values_alone = restored.gives_values_alone = solve.gives_values_alone;
      for (int k = 0; k < used && restored.solver.request() != Request::kStopped; ++k) restored.advance();
      restored.solver.restore(solve.solver.save());
      expect_same_ways(original, restored);
    }
  });
}

TEST_P(BfgsStateTest, RestartedSolverGoesTheWayOfANewOne) {
  after_each_step([&](BfgsSolve& solve) {
    solve.restart(solve.problem().x0);
    EXPECT_EQ(solve.allocations, 0U);
    solve.finish();
    BfgsSolve fresh(solve.problem(), options_);
    fresh.gives_values_alone = solve.gives_values_alone;
    fresh.finish();
    EXPECT_EQ(solve.x(), fresh.x());
    EXPECT_EQ(solve.solver.nfev(), fresh.solver.nfev());
  });
}

TEST_P(BfgsStateTest, SolveThatALimitHasEndedGoesOnWithAnother) {
  for (const Problem& problem : {rosenbrock_problem(5), walled(9)}) {
    BfgsSolve whole(problem, options_);
    whole.finish();
    for (std::int64_t limit = 0; limit < whole.solver.nit(); ++limit) {
      BfgsOptions limited = options_;
      limited.maxiter = limit;
      BfgsSolve ended(problem, limited);
      ended.finish();
      EXPECT_EQ(ended.solver.status(), BfgsStatus::kMaxIterations);
      BfgsSolve resumed(elsewhere(problem), options_);
      resumed.solver.restore(ended.solver.save());
      resumed.solver.resume(options_);
      resumed.finish();
      expect_same(resumed, whole);
    }
  }
}

TEST_P(BfgsStateTest, SolveThatWasStoppedGoesOnFromItsLastIterate) {
  after_each_step([&](BfgsSolve& solve) {
    if (solve.solver.request() == Request::kStopped) return;
    const double f = solve.solver.fun();
    solve.solver.stop(StopReason::kTimeLimit);
    EXPECT_EQ(solve.solver.status_code(), 1);
    if (solve.solver.nfev() > 0) {
      EXPECT_EQ(solve.solver.fun(), f);
    }
    BfgsSolve resumed(elsewhere(solve.problem()), options_);
    resumed.gives_values_alone = solve.gives_values_alone;
    resumed.solver.restore(solve.solver.save());
    resumed.solver.resume(options_);
    resumed.finish();
    BfgsSolve whole(solve.problem(), options_);
    whole.finish();
    EXPECT_EQ(resumed.x(), whole.x());
    EXPECT_EQ(resumed.solver.nit(), whole.solver.nit());
  });
}

INSTANTIATE_TEST_SUITE_P(Updates, BfgsStateTest,
                         ::testing::Values(BfgsUpdate::kBfgs, BfgsUpdate::kSsbroyden, BfgsUpdate::kDfp),
                         [](const auto& p) {
                           return p.param == BfgsUpdate::kBfgs  ? "Bfgs"
                                  : p.param == BfgsUpdate::kDfp ? "Dfp"
                                                                : "Broyden";
                         });

TEST(BfgsForeignStateTest, IsRefused) {
  const Bytes state = BfgsSolve(quadratic(5, 2)).solver.save();
  for (const std::size_t n : {4, 6, 8}) {
    BfgsSolve solve(quadratic(n, 2));
    EXPECT_THROW(solve.solver.restore(state), std::invalid_argument);
  }
  const Bytes of_lbfgsb = testing::Solve(quadratic(5, 2)).solver.save();
  BfgsSolve solve(quadratic(5, 2));
  EXPECT_THROW(solve.solver.restore(of_lbfgsb), std::invalid_argument);
  EXPECT_THROW(solve.solver.restore(Bytes()), std::invalid_argument);
}

}  // namespace
}  // namespace tfminimize::solvers
