#ifndef TFMINIMIZE_TESTS_SOLVERS_SLSQP_CONSTRAINED_SOLVE_H_
#define TFMINIMIZE_TESTS_SOLVERS_SLSQP_CONSTRAINED_SOLVE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "solvers/slsqp/slsqp.h"
#include "tests/solvers/allocations.h"
#include "tests/solvers/kernels/reference.h"
#include "tests/solvers/solve.h"

namespace tfminimize::solvers::testing {

struct ConstrainedProblem {
  Function function;
  Vector x0;
  std::vector<Function> constraints;  ///< The equalities first.
  std::size_t num_equalities = 0;
  Vector lower;  ///< Empty without bounds.
  Vector upper;
  Vector offsets;  ///< As in solvers::Problem; the row of a linear constraint is its gradient at x0.
  std::size_t num_variables = 0;
};

/// When the solver gets derivatives.
enum class Derivatives {
  kWithValues,  ///< With the values, if the solver expects them.
  kApart,       ///< When the solver asks for them.
};

/// A solver with its memory. The memory ends exactly where the solver may read it; values that it may not read are NaN.
class ConstrainedSolve {
 public:
  explicit ConstrainedSolve(ConstrainedProblem problem, const SlsqpOptions& options = {},
                            Derivatives derivatives = Derivatives::kWithValues)
      : problem_(std::move(problem)),
        derivatives_(derivatives),
        x_(problem_.x0.begin(), problem_.x0.end()),
        gradient_(n(), kNaN),
        constraints_(m(), kNaN),
        jacobian_(m() * stride()),
        lower_(problem_.lower.begin(), problem_.lower.end()),
        upper_(problem_.upper.begin(), problem_.upper.end()),
        offsets_(problem_.offsets.begin(), problem_.offsets.end()),
        solver(make_problem(), options) {}
  ConstrainedSolve(const ConstrainedSolve&) = delete;
  ConstrainedSolve& operator=(const ConstrainedSolve&) = delete;

  std::size_t n() const { return problem_.x0.size(); }
  std::size_t m() const { return problem_.constraints.size(); }
  std::size_t stride() const { return solvers::Problem::stride(n()); }
  const ConstrainedProblem& problem() const { return problem_; }
  Vector x() const { return {x_.begin(), x_.end()}; }
  Vector gradient() const { return {gradient_.begin(), gradient_.end()}; }
  Vector constraints() const { return {constraints_.begin(), constraints_.end()}; }
  Vector jacobian_row(std::size_t i) const {
    const auto begin = jacobian_.begin() + static_cast<std::ptrdiff_t>(i * stride());
    return {begin, begin + static_cast<std::ptrdiff_t>(n())};
  }
  Vector jacobian() const { return {jacobian_.begin(), jacobian_.end()}; }
  Vector multipliers() const { return {solver.multipliers().begin(), solver.multipliers().end()}; }

  /// Does what the solver asks for, and advances it.
  Request advance() {
    double f = kNaN;  // The solver may read it only after an evaluation.
    bool both = false;
    if (solver.request() == Request::kEvaluate) {
      both = derivatives_ == Derivatives::kWithValues && solver.expects_derivatives();
      f = evaluate();
      forget_derivatives();
      evaluated.push_back(x());
    }
    if (both) differentiations.push_back(x());
    if (solver.request() == Request::kDerivatives) differentiations.push_back(x());
    if (both || solver.request() == Request::kDerivatives) differentiate();
    const Request request = go_on(f, both);
    if (request == Request::kIteration) {
      iterates.push_back(x());
      values.push_back(solver.fun());
    }
    return request;
  }
  /// Goes on to the end.
  ConstrainedSolve& finish() {
    while (solver.request() != Request::kStopped) {
      if (evaluated.size() > kMaxEvaluations) throw std::runtime_error("The solver does not end.");
      advance();
    }
    return *this;
  }
  /// Begins a new solve at x.
  void restart(const Vector& x) {
    std::copy(x.begin(), x.end(), x_.begin());
    std::fill(constraints_.begin(), constraints_.end(), kNaN);
    forget_derivatives();
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

  Request go_on(double f, bool with_derivatives) {
    const AllocationsCounted counted(allocations);
    return solver.advance(f, with_derivatives);
  }
  solvers::Problem make_problem() {
    solvers::Problem view;
    view.x = {x_.data(), n()};
    view.gradient = {gradient_.data(), n()};
    view.constraints = {constraints_.data(), m()};
    view.jacobian = {jacobian_.data(), jacobian_.size()};
    view.num_equalities = problem_.num_equalities;
    view.lower = {lower_.data(), lower_.size()};
    view.upper = {upper_.data(), upper_.size()};
    view.offsets = {offsets_.data(), offsets_.size()};
    view.num_variables = problem_.num_variables;
    forget_derivatives();
    for (std::size_t i = 0; i < m(); ++i) {
      if (is_linear(i)) write_row(i, problem_.x0);
    }
    return view;
  }
  bool is_linear(std::size_t i) const { return !offsets_.empty() && !std::isnan(offsets_[i]); }
  double* row(std::size_t i) { return jacobian_.data() + i * stride(); }
  void write_row(std::size_t i, const Vector& at) {
    Vector g(n());
    problem_.constraints[i](at, g);
    std::copy(g.begin(), g.end(), row(i));
  }
  double evaluate() {
    Vector g(n());
    const Vector at = x();
    for (std::size_t i = 0; i < m(); ++i) {
      if (!is_linear(i)) constraints_[i] = problem_.constraints[i](at, g);
    }
    return problem_.function(at, g);
  }
  void differentiate() {
    Vector g(n());
    problem_.function(x(), g);
    std::copy(g.begin(), g.end(), gradient_.begin());
    for (std::size_t i = 0; i < m(); ++i) {
      if (!is_linear(i)) write_row(i, x());
    }
  }
  void forget_derivatives() {
    std::fill(gradient_.begin(), gradient_.end(), kNaN);
    for (std::size_t i = 0; i < m(); ++i) {
      if (!is_linear(i)) std::fill_n(row(i), n(), kNaN);
    }
  }

  ConstrainedProblem problem_;
  Derivatives derivatives_;
  AlignedVector<double> x_, gradient_, constraints_, jacobian_, lower_, upper_, offsets_;

 public:
  Slsqp solver;
  std::vector<Vector> evaluated;         ///< Each x where f was evaluated.
  std::vector<Vector> differentiations;  ///< Each x where it was differentiated.
  std::vector<Vector> iterates;          ///< x after each iteration.
  Vector values;                         ///< f after each iteration.
  std::size_t allocations = 0;           ///< By the solver, after its construction.
};

/// The largest violation of a constraint at x.
inline double violation(const ConstrainedProblem& problem, const Vector& x) {
  double greatest = 0;
  Vector g(x.size());
  for (std::size_t i = 0; i < problem.constraints.size(); ++i) {
    const double c = problem.constraints[i](x, g);
    greatest = std::max(greatest, i < problem.num_equalities ? std::abs(c) : -c);
  }
  return greatest;
}

/// Expects that x, f, the constraints and their derivatives in a solver belong together.
inline void expect_consistent(const ConstrainedSolve& solve) {
  const ConstrainedProblem& problem = solve.problem();
  Vector g(solve.n());
  EXPECT_EQ(problem.function(solve.x(), g), solve.solver.fun());
  const bool has_derivatives = solve.solver.has_derivatives();
  EXPECT_TRUE(!has_derivatives || g == solve.gradient());
  for (std::size_t i = 0; i < solve.m(); ++i) {
    const double c = problem.constraints[i](solve.x(), g);
    EXPECT_NEAR(c, solve.constraints()[i],
                1e-13 * (1 + std::abs(c)));  // The solver computes linear ones in another order.
    EXPECT_TRUE(!has_derivatives || g == solve.jacobian_row(i)) << i;
  }
  EXPECT_NEAR(violation(problem, solve.x()), solve.solver.constr_violation(), 1e-12);
}

/// row·x + offset
inline Function linear(const Vector& row, double offset) {
  return [=](const Vector& x, Vector& g) {
    g = row;
    return dot(row, x) + offset;
  };
}

/// It has no constraints unless the test adds some.
inline ConstrainedProblem sum_of_squares(std::size_t n) {
  ConstrainedProblem problem;
  problem.x0 = Vector(n, 0.5);
  problem.function = [](const Vector& x, Vector& g) {
    for (std::size_t i = 0; i < x.size(); ++i) g[i] = 2 * x[i];
    return dot(x, x);
  };
  return problem;
}

/// Problem 43 of W. Hock, K. Schittkowski, "Test Examples for Nonlinear Programming Codes", 1981. Its minimum is -44 at
/// (0, 1, 2, -1), with multipliers (1, 0, 2).
inline ConstrainedProblem rosen_suzuki() {
  ConstrainedProblem problem;
  problem.x0 = Vector(4);
  problem.function = [](const Vector& x, Vector& g) {
    g = {2 * x[0] - 5, 2 * x[1] - 5, 4 * x[2] - 21, 2 * x[3] + 7};
    return x[0] * x[0] + x[1] * x[1] + 2 * x[2] * x[2] + x[3] * x[3] - 5 * x[0] - 5 * x[1] - 21 * x[2] + 7 * x[3];
  };
  problem.constraints = {
      [](const Vector& x, Vector& g) {
        g = {-2 * x[0] - 1, -2 * x[1] + 1, -2 * x[2] - 1, -2 * x[3] + 1};
        return 8 - dot(x, x) - x[0] + x[1] - x[2] + x[3];
      },
      [](const Vector& x, Vector& g) {
        g = {-2 * x[0] + 1, -4 * x[1], -2 * x[2], -4 * x[3] + 1};
        return 10 - dot(x, x) - x[1] * x[1] - x[3] * x[3] + x[0] + x[3];
      },
      [](const Vector& x, Vector& g) {
        g = {-4 * x[0] - 2, -2 * x[1] + 1, -2 * x[2], 1};
        return 5 - 2 * x[0] * x[0] - x[1] * x[1] - x[2] * x[2] - 2 * x[0] + x[1] + x[3];
      },
  };
  return problem;
}

/// Problem 71 of the same book. Its minimum is 17.0140173 at (1, 4.7429994, 3.8211503, 1.3794082).
inline ConstrainedProblem product_on_a_sphere() {
  ConstrainedProblem problem;
  problem.x0 = {1, 5, 5, 1};
  problem.lower = Vector(4, 1);
  problem.upper = Vector(4, 5);
  problem.num_equalities = 1;
  problem.function = [](const Vector& x, Vector& g) {
    const double sum = x[0] + x[1] + x[2];
    g = {x[3] * (sum + x[0]), x[0] * x[3], x[0] * x[3] + 1, x[0] * sum};
    return x[0] * x[3] * sum + x[2];
  };
  problem.constraints = {[](const Vector& x, Vector& g) {
                           for (std::size_t i = 0; i < 4; ++i) g[i] = 2 * x[i];
                           return dot(x, x) - 40;
                         },
                         [](const Vector& x, Vector& g) {
                           g = {x[1] * x[2] * x[3], x[0] * x[2] * x[3], x[0] * x[1] * x[3], x[0] * x[1] * x[2]};
                           return x[0] * x[1] * x[2] * x[3] - 25;
                         }};
  return problem;
}

/// ½·Σ weight_i·x_i² + ¼·Σ x_i⁴ with n/2 linear inequalities, one linear equality and bounds. The solver knows that
/// most of the constraints are linear. There is a feasible point.
inline ConstrainedProblem quartic(std::size_t n, std::uint64_t seed = 1) {
  Random random(seed);
  ConstrainedProblem problem;
  Vector weight(n);
  for (double& value : weight) value = random.uniform(1, 10);
  problem.function = [=](const Vector& x, Vector& g) {
    double f = 0;
    for (std::size_t i = 0; i < n; ++i) {
      g[i] = weight[i] * x[i] + x[i] * x[i] * x[i];
      f += 0.5 * weight[i] * x[i] * x[i] + 0.25 * x[i] * x[i] * x[i] * x[i];
    }
    return f;
  };
  const Vector feasible = random.vector(n, 0.3, 1);
  problem.x0 = random.vector(n, -2, 2);
  problem.lower = Vector(n, -kInf);
  problem.upper = Vector(n, 3);
  problem.num_equalities = 1;
  for (std::size_t i = 0; i < n; i += 3) problem.lower[i] = random.uniform(0, 0.3);
  for (std::size_t i = 0; i < 1 + n / 2; ++i) {
    const Vector row = random.vector(n);
    const double offset = (i == 0 ? 0 : random.uniform(0, 0.3)) - dot(row, feasible);
    problem.constraints.push_back(linear(row, offset));
    problem.offsets.push_back(i % 4 == 3 ? kNaN : offset);
  }
  return problem;
}

/// Rosenbrock's function on the circle around 0 through (1, 1), above a line.
inline ConstrainedProblem rosenbrock_on_a_circle() {
  ConstrainedProblem problem;
  problem.function = rosenbrock;
  problem.x0 = {-1.2, 1};
  problem.num_equalities = 1;
  problem.constraints = {[](const Vector& x, Vector& g) {
                           g = {2 * x[0], 2 * x[1]};
                           return dot(x, x) - 2;
                         },
                         linear({1, 1}, 1)};
  return problem;
}

/// Its linearised constraints contradict each other at the start: x² >= 4 and x <= 3, from 0.5.
inline ConstrainedProblem inconsistent_at_the_start() {
  ConstrainedProblem problem;
  problem.function = [](const Vector& x, Vector& g) {
    g = {2 * x[0], 2 * (x[1] - 1)};
    return x[0] * x[0] + (x[1] - 1) * (x[1] - 1);
  };
  problem.x0 = {0.25, 5};
  problem.constraints = {[](const Vector& x, Vector& g) {
                           g = {2 * x[0], 0};
                           return x[0] * x[0] - 4;
                         },
                         linear({-1, 0}, 3)};
  return problem;
}

inline ConstrainedProblem without_constraints(const Problem& problem) {
  return {problem.function, problem.x0, {}, 0, problem.lower, problem.upper, {}, 0};
}

/// One problem of each kind.
inline std::vector<ConstrainedProblem> problems() {
  return {without_constraints(rosenbrock_problem(5)),
          without_constraints(bounded_rosenbrock(11, 4)),
          without_constraints(quadratic(9, 30)),
          rosen_suzuki(),
          product_on_a_sphere(),
          rosenbrock_on_a_circle(),
          inconsistent_at_the_start(),
          quartic(17)};
}

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_SLSQP_CONSTRAINED_SOLVE_H_
