#ifndef TFMINIMIZE_TESTS_SOLVERS_SOLVE_H_
#define TFMINIMIZE_TESTS_SOLVERS_SOLVE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "solvers/bfgs/bfgs.h"
#include "solvers/lbfgsb/lbfgsb.h"
#include "tests/solvers/allocations.h"
#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers::testing {

/// Returns f(x), and writes the gradient to its second argument.
using Function = std::function<double(const Vector& x, Vector& gradient)>;

struct Problem {
  Function function;
  Vector x0;
  Vector lower;  ///< Empty without bounds.
  Vector upper;
};

/// max |P(x - g) - x|
inline double projected_gradient(const Problem& problem, const Vector& x, const Vector& gradient) {
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    double end = x[i] - gradient[i];
    if (!problem.lower.empty()) end = std::min(std::max(end, problem.lower[i]), problem.upper[i]);
    largest = std::max(largest, problem.lower.empty() ? std::abs(gradient[i]) : std::abs(end - x[i]));
  }
  return largest;
}

/// A solver with its buffers. They end exactly where the solver may read them.
template <typename Core, typename Options>
class SolveOf {
 public:
  explicit SolveOf(Problem problem, const Options& options = {})
      : problem_(std::move(problem)),
        x_(problem_.x0.begin(), problem_.x0.end()),
        gradient_(problem_.x0.size(), kNaN),
        lower_(problem_.lower.begin(), problem_.lower.end()),
        upper_(problem_.upper.begin(), problem_.upper.end()),
        solver({{x_.data(), x_.size()},
                {gradient_.data(), gradient_.size()},
                {},
                {},
                0,
                {lower_.data(), lower_.size()},
                {upper_.data(), upper_.size()},
                {},
                0},
               options) {}
  SolveOf(const SolveOf&) = delete;
  SolveOf& operator=(const SolveOf&) = delete;

  const Problem& problem() const { return problem_; }
  Vector x() const { return {x_.begin(), x_.end()}; }
  Vector gradient() const { return {gradient_.begin(), gradient_.end()}; }
  double projected_gradient() const { return testing::projected_gradient(problem_, x(), gradient()); }

  /// Evaluates if the solver asks for it, and advances it. A solver that takes values alone gets them alone if
  /// `gives_values_alone`.
  Request advance() {
    double f = kNaN;  // The solver may read it only after an evaluation.
    const Request asked = solver.request();
    const bool alone = asked == Request::kEvaluate && solver.takes_values_alone() && gives_values_alone;
    if (asked == Request::kEvaluate || asked == Request::kDerivatives) {
      Vector g(x_.size());
      const double value = problem_.function(x(), g);
      if (alone) std::fill(g.begin(), g.end(), kNaN);
      std::copy(g.begin(), g.end(), gradient_.begin());
      if (asked == Request::kEvaluate) {
        f = value;
        evaluated.push_back(x());
      }
    }
    const Request request = go_on(f, !alone);
    if (request == Request::kIteration) iterates.push_back(x());
    if (request == Request::kIteration) values.push_back(solver.fun());
    return request;
  }
  /// Goes on to the end.
  SolveOf& finish() {
    while (solver.request() != Request::kStopped) {
      if (evaluated.size() > kMaxEvaluations) throw std::runtime_error("The solver does not end.");
      advance();
    }
    return *this;
  }
  /// Begins a new solve at x.
  void restart(const Vector& x) {
    std::copy(x.begin(), x.end(), x_.begin());
    std::fill(gradient_.begin(), gradient_.end(), kNaN);
    const AllocationsCounted counted(allocations);
    solver.restart();
  }
  /// Goes on until the solver asks for this, or to the end.
  void advance_to(Request request) {
    while (solver.request() != Request::kStopped && advance() != request) {
    }
  }

 private:
  static constexpr std::size_t kMaxEvaluations = 100000;

  Request go_on(double f, bool both) {
    const AllocationsCounted counted(allocations);
    return solver.advance(f, both);
  }

  Problem problem_;
  AlignedVector<double> x_, gradient_, lower_, upper_;

 public:
  Core solver;
  bool gives_values_alone = false;
  std::vector<Vector> evaluated;  ///< Each x where f was evaluated.
  std::vector<Vector> iterates;   ///< x after each iteration.
  Vector values;                  ///< f after each iteration.
  std::size_t allocations = 0;    ///< By the solver, after its construction.
};

using Solve = SolveOf<Lbfgsb, LbfgsbOptions>;
using BfgsSolve = SolveOf<Bfgs, BfgsOptions>;

/// ½·Σ weight_i·(x_i - center_i)², with weights from 1 to `condition`.
inline Problem quadratic(std::size_t n, double condition, std::uint64_t seed = 1) {
  Random random(seed);
  const Vector center = random.vector(n);
  Vector weight(n, 1);
  for (double& value : weight) value = std::pow(condition, random.unit());
  const auto function = [=](const Vector& x, Vector& g) {
    double f = 0;
    for (std::size_t i = 0; i < n; ++i) {
      g[i] = weight[i] * (x[i] - center[i]);
      f += 0.5 * g[i] * (x[i] - center[i]);
    }
    return f;
  };
  return {function, random.vector(n, -3, 3), {}, {}};
}

/// Σ 100·(x_{i+1} - x_i²)² + (1 - x_i)², from (-1.2, 1, -1.2, 1, ...). Its minimum is 0 at (1, ..., 1).
inline double rosenbrock(const Vector& x, Vector& g) {
  double f = 0;
  std::fill(g.begin(), g.end(), 0.0);
  for (std::size_t i = 0; i + 1 < x.size(); ++i) {
    const double a = x[i + 1] - x[i] * x[i];
    const double b = 1 - x[i];
    f += 100 * a * a + b * b;
    g[i] += -400 * a * x[i] - 2 * b;
    g[i + 1] += 200 * a;
  }
  return f;
}
inline Problem rosenbrock_problem(std::size_t n) {
  Vector x0(n, 1);
  for (std::size_t i = 0; i < n; i += 2) x0[i] = -1.2;
  return {rosenbrock, x0, {}, {}};
}

/// Rosenbrock's problem with random bounds, some of them infinite.
inline Problem bounded_rosenbrock(std::size_t n, std::uint64_t seed = 1) {
  Problem problem = rosenbrock_problem(n);
  Random random(seed);
  problem.lower.assign(n, -kInf);
  problem.upper.assign(n, kInf);
  for (std::size_t i = 0; i < n; ++i) {
    if (random.chance(0.5)) problem.lower[i] = random.uniform(-1.5, 0.9);
    if (random.chance(0.5)) problem.upper[i] = random.uniform(0.9, 1.5);
  }
  return problem;
}

/// Expects that x, f and the gradient of a solver belong together.
inline void expect_consistent(const Solve& solve, const Function& function) {
  Vector g(solve.x().size());
  EXPECT_EQ(function(solve.x(), g), solve.solver.fun());
  EXPECT_EQ(g, solve.gradient());
}

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_SOLVE_H_
