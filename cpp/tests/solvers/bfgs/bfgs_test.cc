// Solves by Bfgs: its way, how it ends, what it refuses.

#include "solvers/bfgs/bfgs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "solvers/threads.h"
#include "tests/solvers/solve.h"

namespace tfminimize::solvers {
namespace {

using testing::BfgsSolve;
using testing::kInf;
using testing::kNaN;
using testing::Problem;
using testing::quadratic;
using testing::rosenbrock_problem;
using testing::Vector;

constexpr BfgsUpdate kUpdates[] = {BfgsUpdate::kBfgs,      BfgsUpdate::kDfp,
                                   BfgsUpdate::kSsbfgs,    BfgsUpdate::kSsbfgsOrenLuenberger,
                                   BfgsUpdate::kSsbroyden, BfgsUpdate::kSsbroydenSr1};

Vector inverse_hessian(const Bfgs& solver) {
  Vector dense(solver.size() * solver.size());
  solver.copy_inverse_hessian(dense);
  return dense;
}

BfgsOptions with(BfgsUpdate update) {
  BfgsOptions options;
  options.update = update;
  return options;
}

/// The matrix of an option; `dense` must outlive its use.
DenseMatrix matrix(const Vector& dense) {
  const auto n = static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(dense.size()))));
  return {std::shared_ptr<const double>(std::shared_ptr<void>(), dense.data()), n, n};
}

TEST(BfgsTest, EveryUpdateFindsTheMinimumOfAQuadraticAndItsInverseHessian) {
  for (const BfgsUpdate update : kUpdates) {
    for (const std::size_t n : {1, 2, 7, 8, 9, 20}) {
      const Problem problem = quadratic(n, 20);
      BfgsOptions options = with(update);
      options.gtol = 1e-10;
      options.c2 = 0.1;
      BfgsSolve solve(problem, options);
      solve.finish();
      EXPECT_EQ(solve.solver.status(), BfgsStatus::kGradientConverged) << static_cast<int>(update) << ", n = " << n;
      EXPECT_LE(solve.projected_gradient(), 1e-10);
      EXPECT_EQ(solve.solver.num_resets(), 0);
      const Vector h = inverse_hessian(solve.solver);
      for (std::size_t i = 0; i < n; ++i) {
        EXPECT_GT(h[i * n + i], 0);
        for (std::size_t j = 0; j < n; ++j) EXPECT_EQ(h[i * n + j], h[j * n + i]);
      }
    }
  }
}

TEST(BfgsTest, TheMatrixMapsTheLastPairOntoItself) {
  for (const BfgsUpdate update : kUpdates) {
    BfgsOptions options = with(update);
    options.maxiter = 6;
    BfgsSolve solve(rosenbrock_problem(11), options);
    std::vector<Vector> gradients;
    while (solve.solver.request() != Request::kStopped) {
      solve.advance();
      if (solve.solver.request() == Request::kIteration) gradients.push_back(solve.gradient());
    }
    ASSERT_EQ(solve.solver.status(), BfgsStatus::kMaxIterations);
    const Vector h = inverse_hessian(solve.solver);
    for (std::size_t i = 0; i < 11; ++i) {
      double hy = 0;
      for (std::size_t j = 0; j < 11; ++j) hy += h[i * 11 + j] * (gradients[5][j] - gradients[4][j]);
      EXPECT_NEAR(hy, solve.iterates[5][i] - solve.iterates[4][i], 1e-10);
    }
  }
}

TEST(BfgsTest, ValuesAloneLeadTheSameWay) {
  for (const std::size_t n : {2, 10}) {
    BfgsSolve both(rosenbrock_problem(n));
    BfgsSolve alone(rosenbrock_problem(n));
    alone.gives_values_alone = true;
    both.finish();
    alone.finish();
    EXPECT_EQ(both.iterates, alone.iterates);
    EXPECT_EQ(both.solver.njev(), alone.solver.njev());
    EXPECT_EQ(both.solver.nfev(), alone.solver.nfev());
  }
}

TEST(BfgsTest, BitsDoNotDependOnTheNumberOfThreads) {
  const std::size_t n = 1100;  // Several chunks.
  std::vector<Vector> ends;
  for (const std::size_t threads : {1, 2, 5}) {
    set_num_threads(threads);
    BfgsOptions options = with(BfgsUpdate::kSsbroyden);
    options.maxiter = 12;
    BfgsSolve solve(rosenbrock_problem(n), options);
    solve.finish();
    ends.push_back(solve.x());
    ends.push_back(inverse_hessian(solve.solver));
  }
  set_num_threads(0);
  EXPECT_EQ(ends[0], ends[2]);
  EXPECT_EQ(ends[0], ends[4]);
  EXPECT_EQ(ends[1], ends[3]);
  EXPECT_EQ(ends[1], ends[5]);
}

TEST(BfgsTest, BeginsWithAGivenMatrix) {
  Vector h0{2, 0.5, 0.5, 1};
  BfgsOptions options;
  options.hess_inv0 = matrix(h0);
  BfgsSolve solve(quadratic(2, 4), options);
  const Vector start = solve.x();
  solve.advance_to(Request::kIteration);
  Vector g(2);
  solve.problem().function(start, g);
  const Vector step{solve.x()[0] - start[0], solve.x()[1] - start[1]};
  const Vector direction{-2 * g[0] - 0.5 * g[1], -0.5 * g[0] - g[1]};
  EXPECT_NEAR(step[0] * direction[1], step[1] * direction[0], 1e-12);
  EXPECT_EQ(inverse_hessian(solve.solver), h0);  // The pair of this iteration is not in it yet.
  solve.restart(start);
  EXPECT_EQ(inverse_hessian(solve.solver), h0);
}

TEST(BfgsTest, WarmStartTakesTheMatrixOver) {
  BfgsSolve first(quadratic(9, 100));
  first.finish();
  BfgsSolve second(quadratic(9, 100));
  ASSERT_TRUE(second.solver.warm_start(first.solver));
  EXPECT_EQ(inverse_hessian(second.solver), inverse_hessian(first.solver));
  second.finish();
  EXPECT_LT(second.solver.nit(), first.solver.nit());
  EXPECT_THROW(second.solver.warm_start(first.solver), std::logic_error);
  BfgsSolve other(quadratic(8, 100));
  EXPECT_THROW(other.solver.warm_start(first.solver), std::invalid_argument);
}

TEST(BfgsTest, WarmStartRefusesAMatrixThatIsNotDefinite) {
  Vector h0{1, 0, 0, -1};
  BfgsOptions options;
  options.hess_inv0 = matrix(h0);
  BfgsSolve given(quadratic(2, 4), options);
  BfgsSolve pupil(quadratic(2, 4));
  EXPECT_FALSE(pupil.solver.warm_start(given.solver));
  EXPECT_EQ(inverse_hessian(pupil.solver), (Vector{1, 0, 0, 1}));
  // The solver itself finds out by its direction, and begins again.
  given.finish();
  EXPECT_EQ(given.solver.status(), BfgsStatus::kGradientConverged);
}

TEST(BfgsTest, FarApartCurvaturesNeverCostTheMatrixItsDefiniteness) {
  for (const double condition : {1e6, 1e12, 1e18, 1e24}) {
    for (const BfgsUpdate update : kUpdates) {
      BfgsOptions options = with(update);
      options.maxiter = 60;
      BfgsSolve solve(quadratic(6, condition), options);
      while (solve.solver.request() != Request::kStopped) {
        solve.advance();
        const Vector h = inverse_hessian(solve.solver);
        for (std::size_t i = 0; i < 6; ++i) ASSERT_GT(h[i * 6 + i], 0) << condition;
      }
      EXPECT_NE(solve.solver.status(), BfgsStatus::kGradientMismatch);
    }
  }
}

TEST(BfgsTest, EndsByItsOptions) {
  const auto end_with = [](const auto& change) {
    BfgsOptions options;
    change(options);
    BfgsSolve solve(rosenbrock_problem(4), options);
    solve.finish();
    return std::make_pair(solve.solver.status(), solve.solver.nit());
  };
  EXPECT_EQ(end_with([](BfgsOptions& o) { o.gtol = 1e10; }), std::make_pair(BfgsStatus::kGradientConverged, 0L));
  EXPECT_EQ(end_with([](BfgsOptions& o) { o.maxiter = 0; }), std::make_pair(BfgsStatus::kMaxIterations, 0L));
  EXPECT_EQ(end_with([](BfgsOptions& o) { o.maxiter = 7; }), std::make_pair(BfgsStatus::kMaxIterations, 7L));
  EXPECT_EQ(end_with([](BfgsOptions& o) { o.xrtol = 1; }), std::make_pair(BfgsStatus::kStepConverged, 1L));
  EXPECT_EQ(end_with([](BfgsOptions& o) { o.norm = 1; }).first, BfgsStatus::kGradientConverged);
  EXPECT_EQ(end_with([](BfgsOptions& o) { o.norm = 2; }).first, BfgsStatus::kGradientConverged);
}

TEST(BfgsTest, MinimumNormDoesNotCountPadding) {
  const Problem problem = rosenbrock_problem(3);
  BfgsOptions options;
  options.norm = -kInf;
  BfgsSolve whole(problem, options);
  whole.finish();
  EXPECT_GT(whole.solver.nit(), 0);
  alignas(64) double x[8] = {-1.2, 1, -1.2};
  alignas(64) double g[8] = {};
  solvers::Problem padded;
  padded.x = {x, 8};
  padded.gradient = {g, 8};
  padded.num_variables = 3;
  Bfgs solver(padded, options);
  while (solver.request() != Request::kStopped) {
    Vector gradient(3);
    const double f = problem.function({x, x + 3}, gradient);
    std::copy(gradient.begin(), gradient.end(), g);
    solver.advance(f, true);
  }
  EXPECT_EQ(solver.nit(), whole.solver.nit());
}

TEST(BfgsTest, LimitOfIterationsGrowsWithTheVariables) {
  const auto steep = [](const Vector& x, Vector& g) {
    g.assign(g.size(), -1);
    double f = 0;
    for (const double v : x) f -= v;
    return f;
  };
  BfgsOptions options;
  options.update = BfgsUpdate::kDfp;
  BfgsSolve solve({steep, {0, 0}, {}, {}}, options);
  solve.finish();
  EXPECT_LE(solve.solver.nit(), 400);  // It has no minimum.
  EXPECT_NE(solve.solver.status_code(), 0);
}

TEST(BfgsTest, ComesBackFromTrialsThatAreNotFinite) {
  for (const double bad : {kInf, kNaN}) {
    const auto walled = [=](const Vector& x, Vector& g) {
      g[0] = 2 * (x[0] - 1);
      return x[0] > 1.5 ? bad : (x[0] - 1) * (x[0] - 1);
    };
    BfgsSolve solve({walled, {-3}, {}, {}});
    solve.finish();
    EXPECT_EQ(solve.solver.status(), BfgsStatus::kGradientConverged);
    EXPECT_NEAR(solve.x()[0], 1, 1e-5);
  }
}

TEST(BfgsTest, SaysWhatIsWrongWithTheFunction) {
  const auto end_of = [](const testing::Function& function) {
    BfgsSolve solve({function, {1, 2}, {}, {}});
    solve.finish();
    return solve.solver.status();
  };
  const auto constant = [](double f, double slope) {
    return [=](const Vector&, Vector& g) {
      g.assign(g.size(), slope);
      return f;
    };
  };
  EXPECT_EQ(end_of(constant(kNaN, 1)), BfgsStatus::kNan);
  EXPECT_EQ(end_of(constant(1, kNaN)), BfgsStatus::kNan);
  EXPECT_EQ(end_of(constant(kInf, 1)), BfgsStatus::kInfiniteStart);
  EXPECT_EQ(end_of(constant(1, kInf)), BfgsStatus::kInfiniteStart);
  EXPECT_EQ(end_of(constant(1, 1)), BfgsStatus::kPrecisionLoss);
  EXPECT_EQ(end_of([](const Vector& x, Vector& g) {
              g.assign(g.size(), -1);
              return x[0] + x[1];
            }),
            BfgsStatus::kGradientMismatch);
  EXPECT_EQ(end_of([](const Vector& x, Vector& g) {
              g.assign(g.size(), 1);
              return x[0] < 0 ? -kInf : x[0];
            }),
            BfgsStatus::kUnboundedBelow);
}

TEST(BfgsTest, EveryStatusHasAMessageAndACode) {
  for (int k = 0; k <= static_cast<int>(kLastBfgsStatus); ++k) {
    const auto status = static_cast<BfgsStatus>(k);
    EXPECT_STRNE(message(status), "");
    EXPECT_THAT((std::vector<int>{0, 1, 2, 3, 99}), ::testing::Contains(scipy_code(status)));
  }
}

template <typename Make>
std::string sentence_of(const Make& make) {
  try {
    make();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(BfgsTest, RefusesWhatItCannotUse) {
  alignas(64) double x[8] = {};
  alignas(64) double g[8] = {};
  const double bound[8] = {};
  double c[1] = {};
  solvers::Problem problem;
  problem.x = {x, 2};
  problem.gradient = {g, 2};
  const auto sentence = [&](const auto& change, const BfgsOptions& options = {}) {
    solvers::Problem changed = problem;
    change(changed);
    return sentence_of([&] { const Bfgs solver(changed, options); });
  };
  EXPECT_THAT(sentence([&](solvers::Problem& p) { p.x = {}; }), ::testing::HasSubstr("at least one variable"));
  EXPECT_THAT(sentence([&](solvers::Problem& p) { p.gradient = {g, 1}; }), ::testing::HasSubstr("the same size"));
  EXPECT_THAT(sentence([&](solvers::Problem& p) { p.lower = {bound, 2}; }), ::testing::HasSubstr("no bounds"));
  EXPECT_THAT(sentence([&](solvers::Problem& p) { p.constraints = {c, 1}; }), ::testing::HasSubstr("use SLSQP"));
  BfgsOptions options;
  options.c1 = 0.95;
  EXPECT_THAT(sentence([](solvers::Problem&) {}, options), ::testing::HasSubstr("0 < c1 < c2 < 1"));
  const Vector three{1, 0, 0, 0, 1, 0, 0, 0, 1};
  options = {};
  options.hess_inv0 = matrix(three);
  EXPECT_THAT(sentence([](solvers::Problem&) {}, options), ::testing::HasSubstr("each of the 2 variables"));
  Bfgs solver(problem, {});
  EXPECT_THROW(solver.restart(options), std::invalid_argument);
  EXPECT_THROW(Bfgs::check_memory(10'000'000), std::bad_alloc);
}

}  // namespace
}  // namespace tfminimize::solvers
