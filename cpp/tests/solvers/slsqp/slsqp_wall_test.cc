// Walls: points beyond which a value or a derivative is not finite. No success may rest on what a wall did to the model
// or to the length of a step.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "solvers/slsqp/slsqp.h"
#include "tests/solvers/slsqp/constrained_solve.h"

namespace tfminimize::solvers {
namespace {

using testing::ConstrainedProblem;
using testing::ConstrainedSolve;
using testing::Derivatives;
using testing::dot;
using testing::Function;
using testing::Random;
using testing::Vector;

/// Adds one term to f and its derivative to g.
using Term = double (*)(double x, double& g);

double minus_root(double x, double& g) {
  g -= 0.5 / std::sqrt(x);
  return -std::sqrt(x);
}
double root(double x, double& g) {
  g += 0.5 / std::sqrt(x);
  return std::sqrt(x);
}
double minus_logarithm(double x, double& g) {
  g -= 1 / x;
  return -std::log(x);
}
double inverse(double x, double& g) {
  g -= 1 / (x * x);
  return 1 / x;
}
double entropy(double x, double& g) {
  g += std::log(x) + 1;
  return x * std::log(x);
}
double line(double x, double& g) {
  g += 1;
  return x;
}
double minus_line(double x, double& g) {
  g -= 1;
  return -x;
}
double parabola(double x, double& g) {
  g += 20 * (x - 1);
  return 10 * (x - 1) * (x - 1);
}

/// Σ term_i(x_i) + ½·(Σ x_i - 2)²·coupling, between 0 and 2.
ConstrainedProblem sum_of(const std::vector<Term>& terms, double coupling) {
  ConstrainedProblem problem;
  problem.function = [=](const Vector& x, Vector& g) {
    double sum = -2;
    for (const double value : x) sum += value;
    double f = coupling / 2 * sum * sum;
    for (std::size_t i = 0; i < x.size(); ++i) {
      g[i] = coupling * sum;
      f += terms[i](x[i], g[i]);
    }
    return f;
  };
  problem.lower = Vector(terms.size(), 0);
  problem.upper = Vector(terms.size(), 2);
  return problem;
}

/// x·x <= 2
double in_a_disc(const Vector& x, Vector& g) {
  for (std::size_t i = 0; i < x.size(); ++i) g[i] = -2 * x[i];
  return 2 - dot(x, x);
}

/// In single precision.
Function rounded(const Function& function) {
  return [=](const Vector& x, Vector& g) {
    Vector single = x;
    for (double& value : single) value = static_cast<float>(value);
    const double f = function(single, g);
    for (double& value : g) value = static_cast<float>(value);
    return static_cast<double>(static_cast<float>(f));
  };
}

/// The largest element of the step from x along -(g - Jᵀλ), cut at the bounds; 0 at a Karush-Kuhn-Tucker point.
double distance_from_stationary(const ConstrainedSolve& solve) {
  const ConstrainedProblem& problem = solve.problem();
  const Vector x = solve.x();
  Vector gradient(x.size());
  Vector row(x.size());
  problem.function(x, gradient);
  for (std::size_t i = 0; i < problem.constraints.size(); ++i) {
    problem.constraints[i](x, row);
    for (std::size_t k = 0; k < x.size(); ++k) gradient[k] -= solve.multipliers()[i] * row[k];
  }
  double largest = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    const double target = std::min(std::max(x[k] - gradient[k], problem.lower[k]), problem.upper[k]);
    largest = std::max(largest, std::abs(target - x[k]));
  }
  return largest;
}

/// Solves the problem from many starts. Returns how many solves succeed.
int expect_no_false_success(ConstrainedProblem problem, bool single) {
  SlsqpOptions options;
  if (single) {
    options.precision = std::numeric_limits<float>::epsilon();
    problem.function = rounded(problem.function);
  }
  int successes = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Random random(seed);
    problem.x0 = random.vector(problem.lower.size(), 0.05, 1.2);
    ConstrainedSolve solve(problem, options, seed % 2 == 0 ? Derivatives::kWithValues : Derivatives::kApart);
    solve.finish();
    if (solve.solver.status() != SlsqpStatus::kConverged) continue;
    ++successes;
    EXPECT_LT(distance_from_stationary(solve), 1e-2) << seed;
    EXPECT_LE(solve.solver.constr_violation(), options.ftol) << seed;
  }
  return successes;
}

TEST(SlsqpWallTest, SuccessIsAMinimum) {
  const std::vector<std::vector<Term>> kinds{{root, minus_root},          {root, minus_line},       {root, parabola},
                                             {root, minus_logarithm},     {root, root, minus_line}, {minus_root, line},
                                             {minus_logarithm, line},     {entropy, minus_root},    {entropy, parabola},
                                             {inverse, minus_line, root}, {entropy, inverse, line}};
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    for (const double coupling : {0.0, 1.0, 10.0}) {
      for (const bool single : {false, true}) {
        SCOPED_TRACE(::testing::Message() << k << ' ' << coupling << ' ' << single);
        EXPECT_GE(expect_no_false_success(sum_of(kinds[k], coupling), single), 48);
      }
    }
  }
}

TEST(SlsqpWallTest, SuccessIsAMinimumUnderAConstraint) {
  for (const bool single : {false, true}) {
    ConstrainedProblem problem = sum_of({root, minus_line}, 0);
    problem.constraints = {single ? rounded(in_a_disc) : Function(in_a_disc)};
    const int successes = expect_no_false_success(problem, single);
    EXPECT_GE(successes, single ? 25 : 50);
  }
}

TEST(SlsqpWallTest, StepCutShortByAWallIsNoSuccess) {
  // Without a bound, each search ends just before y = 0, far from the largest x.
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    ConstrainedProblem problem = sum_of({root, minus_line}, 0);
    problem.lower = {};
    problem.upper = {};
    problem.constraints = {in_a_disc};
    problem.x0 = Random(seed).vector(2, 0.05, 1.2);
    ConstrainedSolve solve(problem);
    EXPECT_EQ(solve.finish().solver.status(), SlsqpStatus::kNonFiniteSearch) << seed;
  }
}

TEST(SlsqpWallTest, SavedSolveGoesOnAsItWas) {
  ConstrainedProblem problem = sum_of({root, minus_root}, 0);
  problem.x0 = {0.5, 1};
  ConstrainedSolve solve(problem);
  std::vector<std::vector<std::uint8_t>> states;
  while (solve.advance() != Request::kStopped) states.push_back(solve.solver.save());
  for (const std::vector<std::uint8_t>& state : states) {
    ConstrainedSolve restored(problem);
    restored.solver.restore(state);
    EXPECT_EQ(restored.finish().x(), solve.x());
    EXPECT_EQ(restored.solver.nfev(), solve.solver.nfev());
  }
}

}  // namespace
}  // namespace tfminimize::solvers
