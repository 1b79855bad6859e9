// What a solve asks for and when: the line search, derivatives, and stops by the caller.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
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
using testing::kNaN;
using testing::problems;
using testing::product_on_a_sphere;
using testing::quartic;
using testing::rosen_suzuki;
using testing::rosenbrock_on_a_circle;
using testing::rosenbrock_problem;
using testing::Vector;
using testing::without_constraints;

// The line search: Kraft's, on f + Σ μ_i·violation_i.

/// Checks each trial against the rules, for a solve that never relaxes its constraints.
class LineSearchRules {
 public:
  explicit LineSearchRules(const ConstrainedProblem& problem, const SlsqpOptions& options = {1e-9, 100})
      : solve_(problem, options), problem_(problem), weights_(problem.constraints.size()) {}

  /// Goes to the end; returns how many trials were shortened.
  int check() {
    solve_.advance();
    while (solve_.solver.request() != Request::kStopped && !::testing::Test::HasFailure()) {
      if (solve_.solver.request() == Request::kEvaluate && solve_.solver.expects_derivatives()) begin();
      const bool is_trial = solve_.solver.request() == Request::kEvaluate;
      const Vector x = solve_.x();
      solve_.advance();
      if (is_trial) check_trial(x);
    }
    return shortened_;
  }

 private:
  double total(const Vector& x, bool weighted) const {
    Vector g(x.size());
    double sum = 0;
    for (std::size_t i = 0; i < problem_.constraints.size(); ++i) {
      const double c = problem_.constraints[i](x, g);
      const double size = i < problem_.num_equalities ? std::abs(c) : std::max(-c, 0.0);
      sum += weighted ? weights_[i] * size : size;
    }
    return sum;
  }
  double merit(const Vector& x) const {
    Vector g(x.size());
    return problem_.function(x, g) + total(x, true);
  }
  void begin() {
    start_ = solve_.iterates.empty() ? solve_.evaluated.front() : solve_.iterates.back();
    ASSERT_EQ(solve_.solver.nit(), static_cast<std::int64_t>(solve_.iterates.size()) + 1);  // B was not reset.
    const Vector lambda = solve_.multipliers();
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      weights_[i] = std::max(std::abs(lambda[i]), (weights_[i] + std::abs(lambda[i])) / 2);
    }
    Vector g(start_.size());
    problem_.function(start_, g);
    step_ = solve_.x();
    for (std::size_t i = 0; i < step_.size(); ++i) step_[i] -= start_[i];
    slope_ = dot(g, step_) - total(start_, true);
    factor_ = 1;
    trial_ = 0;
    EXPECT_LT(slope_, 0);
  }
  void check_trial(const Vector& x) {
    ++trial_;
    const double change = merit(x) - merit(start_);
    const double limit = factor_ * slope_ / 10;
    const bool accepted = solve_.solver.request() != Request::kEvaluate || solve_.solver.expects_derivatives();
    const double rounding = 1e-13 * (1 + std::abs(merit(start_)));
    if (accepted) {
      EXPECT_TRUE(change <= limit + rounding || trial_ == 11);
      EXPECT_EQ(solve_.x(), x);
      return;
    }
    ++shortened_;
    EXPECT_LT(trial_, 11);
    EXPECT_GT(change, limit - rounding);
    factor_ *= std::max(factor_ * slope_ / (2 * (factor_ * slope_ - change)), 0.1);
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(solve_.x()[i], start_[i] + factor_ * step_[i], 1e-9 * (1 + std::abs(start_[i])));
    }
  }

  ConstrainedSolve solve_;
  ConstrainedProblem problem_;
  Vector weights_;
  Vector start_;
  Vector step_;
  double slope_ = 0;
  double factor_ = 1;
  int trial_ = 0;
  int shortened_ = 0;
};

TEST(SlsqpLineSearchTest, TrialsFollowTheRules) {
  EXPECT_GT(LineSearchRules(without_constraints(rosenbrock_problem(2))).check(), 5);
  EXPECT_GT(LineSearchRules(without_constraints(rosenbrock_problem(6))).check(), 5);
  EXPECT_GT(LineSearchRules(rosenbrock_on_a_circle()).check(), 0);
  EXPECT_GE(LineSearchRules(rosen_suzuki()).check(), 0);
  EXPECT_GE(LineSearchRules(product_on_a_sphere()).check(), 0);
  for (std::uint64_t seed = 1; seed <= 20; ++seed) LineSearchRules(quartic(4 + seed, seed)).check();
}

TEST(SlsqpLineSearchTest, EleventhTrialIsTakenAsItIs) {
  // The first step is so long that ten cuts to a tenth are not enough.
  ConstrainedProblem problem;
  problem.x0 = {1};
  problem.function = [](const Vector& x, Vector& g) {
    g = {1e15 * x[0]};
    return 0.5e15 * x[0] * x[0];
  };
  ConstrainedSolve solve(problem);
  solve.advance_to(Request::kIteration);
  EXPECT_EQ(solve.solver.nfev(), 12);
  EXPECT_LT(solve.x()[0], -1);
}

// Requests and derivatives.

TEST(SlsqpRequestsTest, IterationsAreAcceptedPointsOnly) {
  for (const ConstrainedProblem& problem : problems()) {
    ConstrainedSolve solve(problem);
    while (solve.solver.request() != Request::kStopped) {
      if (solve.advance() != Request::kIteration) continue;
      expect_consistent(solve);
      EXPECT_EQ(solve.x(), solve.evaluated.back());
    }
    EXPECT_EQ(solve.x(), solve.iterates.back());
    EXPECT_EQ(solve.solver.nit(), static_cast<std::int64_t>(solve.iterates.size()));
    EXPECT_EQ(solve.solver.nfev(), static_cast<std::int64_t>(solve.evaluated.size()));
    expect_consistent(solve);
  }
}

TEST(SlsqpRequestsTest, DerivativesAreExpectedAtTheStartAndAtFirstTrials) {
  for (const ConstrainedProblem& problem : problems()) {
    ConstrainedSolve solve(problem);
    EXPECT_TRUE(solve.solver.expects_derivatives());
    Request before = Request::kIteration;
    while (solve.solver.request() != Request::kStopped) {
      const Request request = solve.solver.request();
      // A trial that follows a trial is not the first.
      EXPECT_EQ(solve.solver.expects_derivatives(),
                request == Request::kEvaluate && (before != Request::kEvaluate || solve.evaluated.size() == 1));
      before = request;
      solve.advance();
    }
    EXPECT_FALSE(solve.solver.expects_derivatives());
  }
}

TEST(SlsqpRequestsTest, WayIsTheSameHoweverTheDerivativesCome) {
  for (const ConstrainedProblem& problem : problems()) {
    ConstrainedSolve with(problem);
    ConstrainedSolve apart(problem, {}, Derivatives::kApart);
    with.finish();
    apart.finish();
    EXPECT_EQ(with.evaluated, apart.evaluated);
    EXPECT_EQ(with.iterates, apart.iterates);
    EXPECT_EQ(with.values, apart.values);
    EXPECT_EQ(with.multipliers(), apart.multipliers());
    EXPECT_EQ(with.solver.status(), apart.solver.status());
    EXPECT_EQ(with.solver.nfev(), apart.solver.nfev());
    EXPECT_EQ(with.solver.njev(), apart.solver.njev());
    EXPECT_EQ(apart.solver.njev(), static_cast<std::int64_t>(apart.differentiations.size()));
  }
}

TEST(SlsqpRequestsTest, DerivativesAreAskedForAtAcceptedPointsOnly) {
  for (const ConstrainedProblem& problem : problems()) {
    ConstrainedSolve solve(problem, {}, Derivatives::kApart);
    solve.finish();
    ASSERT_LE(solve.differentiations.size(), solve.iterates.size() + 1);
    EXPECT_EQ(solve.differentiations[0], solve.evaluated[0]);
    for (std::size_t k = 1; k < solve.differentiations.size(); ++k) {
      EXPECT_EQ(solve.differentiations[k], solve.iterates[k - 1]);
    }
  }
}

TEST(SlsqpRequestsTest, SolverKnowsWhetherTheDerivativesAreThoseOfX) {
  for (const Derivatives derivatives : {Derivatives::kWithValues, Derivatives::kApart}) {
    for (const ConstrainedProblem& problem : problems()) {
      ConstrainedSolve solve(problem, {}, derivatives);
      EXPECT_FALSE(solve.solver.has_derivatives());
      while (solve.solver.request() != Request::kStopped) {
        solve.advance();
        const bool known = !solve.differentiations.empty() && solve.differentiations.back() == solve.x();
        const bool present = solve.solver.request() != Request::kEvaluate && known;
        EXPECT_EQ(solve.solver.has_derivatives(), present);
      }
    }
  }
}

TEST(SlsqpRequestsTest, CallerMayStopAfterAnIteration) {
  for (const ConstrainedProblem& problem : problems()) {
    ConstrainedSolve solve(problem);
    solve.advance_to(Request::kIteration);
    solve.advance_to(Request::kIteration);
    const Vector x = solve.x();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kRunning);
    solve.solver.stop();
    EXPECT_EQ(solve.solver.request(), Request::kStopped);
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kCallerStopped);
    EXPECT_EQ(solve.x(), x);
    EXPECT_EQ(solve.solver.nit(), 2);
    expect_consistent(solve);
    EXPECT_THROW(solve.solver.advance(0), std::logic_error);
  }
}

TEST(SlsqpRequestsTest, TimeLimitReturnsToTheLastIterate) {
  for (const ConstrainedProblem& problem : problems()) {
    for (int requests = 1; requests < 12; ++requests) {
      ConstrainedSolve solve(problem, {}, Derivatives::kApart);
      Vector iterate = solve.x();
      double f = kNaN;
      for (int i = 0; i < requests && solve.solver.request() != Request::kStopped; ++i) {
        if (solve.advance() != Request::kIteration && solve.solver.nit() > 0) continue;
        if (solve.solver.request() != Request::kIteration) continue;
        iterate = solve.x();
        f = solve.solver.fun();
      }
      if (solve.solver.request() == Request::kStopped) break;
      solve.solver.stop(StopReason::kTimeLimit);
      EXPECT_EQ(solve.solver.status(), SlsqpStatus::kMaxTime);
      EXPECT_EQ(scipy_code(solve.solver.status()), 9);
      EXPECT_EQ(solve.x(), iterate);
      if (!std::isnan(f)) {
        EXPECT_EQ(solve.solver.fun(), f);
      }
    }
  }
}

TEST(SlsqpRequestsTest, SolverThatHasStoppedRefusesToGoOn) {
  ConstrainedSolve solve(rosen_suzuki());
  solve.finish();
  EXPECT_THROW(solve.solver.advance(0), std::logic_error);
  EXPECT_THROW(solve.solver.stop(), std::logic_error);
}

}  // namespace
}  // namespace tfminimize::solvers
