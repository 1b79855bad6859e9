#ifndef TFMINIMIZE_TESTS_SOLVERS_SLSQP_QP_PROBLEM_H_
#define TFMINIMIZE_TESTS_SOLVERS_SLSQP_QP_PROBLEM_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <limits>
#include <vector>

#include "solvers/slsqp/dual_active_set_qp.h"
#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers::testing {

/// A quadratic program with its own memory.
struct QpProblem {
  explicit QpProblem(std::size_t n, std::size_t m = 0)
      : hessian(Matrix::identity(n)), gradient(n), constraints(m), jacobian(m, n) {}

  std::size_t n() const { return gradient.size(); }
  std::size_t m() const { return constraints.size(); }

  Matrix hessian;
  Vector gradient;
  Vector constraints;
  Matrix jacobian;
  std::size_t num_equalities = 0;
  Vector lower;
  Vector upper;
  std::size_t num_variables = 0;
  Vector relaxation;   ///< Empty, or the column of the additional variable,
  double penalty = 0;  ///< and its element of the Hessian.
  double precision = std::numeric_limits<double>::epsilon();
  double tolerance = 0;
};

/// A solver that solves one program after another.
class QpSolve {
 public:
  QpSolve(std::size_t n, std::size_t m) : solver(n, m) {}
  /// Solves it at once.
  explicit QpSolve(const QpProblem& problem) : QpSolve(problem.n(), problem.m()) { solve(problem); }

  QpStatus solve(const QpProblem& problem) {
    const Memory memory(problem);
    status = solver.solve(memory.b, memory.program);
    return status;
  }
  /// Tells the solver that sigma·z·zᵀ is about to be added to the Hessian.
  void change_model(const QpProblem& problem, double sigma, const Vector& z) {
    const Memory memory(problem);
    const AlignedArray<double> room = zeros(padded(problem.n() + 1));
    std::copy(z.begin(), z.end(), room.data());
    solver.prepare_update(memory.b, memory.program, sigma, room.data());
  }

  Vector s() const { return copy(solver.solution()); }
  Vector leeway() const { return copy(solver.leeway()); }
  Vector multipliers() const { return copy(solver.multipliers()); }
  Vector lower_multipliers() const { return copy(solver.lower_multipliers()); }
  Vector upper_multipliers() const { return copy(solver.upper_multipliers()); }

 private:
  /// A program in the form that the solver takes.
  struct Memory {
    explicit Memory(const QpProblem& problem)
        : b(problem.n()),
          rows(problem.m() * padded(problem.n())),
          program{problem.gradient,       problem.constraints, {},
                  problem.num_equalities, problem.lower,       problem.upper,
                  problem.num_variables,  problem.relaxation,  problem.precision,
                  problem.tolerance} {
      Vector elements;
      for (std::size_t i = 0; i < problem.n(); ++i) {
        for (std::size_t j = 0; j < problem.n(); ++j) elements.push_back(problem.hessian(i, j));
        for (std::size_t k = 0; k < problem.m(); ++k) rows[k * padded(problem.n()) + i] = problem.jacobian(k, i);
      }
      EXPECT_TRUE(b.factorize(elements));
      if (!problem.relaxation.empty()) b.extend(problem.penalty);
      program.jacobian = {rows.data(), rows.size()};
    }

    LdltFactors b;
    AlignedVector<double> rows;  ///< They end exactly where the solver may read them.
    QuadraticProgram program;
  };

  static Vector copy(Span<const double> span) { return {span.begin(), span.end()}; }

 public:
  DualActiveSetQp solver;
  QpStatus status = QpStatus::kSolved;
};

/// The largest violation of the Karush-Kuhn-Tucker conditions by a solved program without relaxation, which prove that
/// s is the only solution; each relative to the size of its terms, those of s counted as at least one.
inline double kkt_residual(const QpProblem& problem, const QpSolve& solve) {
  const Vector s = solve.s();
  const Vector lambda = solve.multipliers();
  const Vector lower = solve.lower_multipliers();
  const Vector upper = solve.upper_multipliers();
  double largest = 0;
  const auto add = [&](double residual, double size) {
    largest = std::fmax(largest, std::isnan(residual) ? kInf : std::abs(residual) / size);
  };
  Vector slope(problem.n());
  double terms = 1e-300;
  for (std::size_t i = 0; i < problem.n(); ++i) {
    slope[i] = problem.gradient[i] - lower[i] + upper[i];
    double size = std::abs(problem.gradient[i]) + lower[i] + upper[i];
    for (std::size_t j = 0; j < problem.n(); ++j) {
      slope[i] += problem.hessian(i, j) * s[j];
      size += std::abs(problem.hessian(i, j) * s[j]);
    }
    for (std::size_t k = 0; k < problem.m(); ++k) {
      slope[i] -= lambda[k] * problem.jacobian(k, i);
      size += std::abs(lambda[k] * problem.jacobian(k, i));
    }
    terms = std::max(terms, size);
  }
  for (const double value : slope) add(value, terms);
  for (std::size_t k = 0; k < problem.m(); ++k) {
    double value = problem.constraints[k];
    double size = std::abs(value);
    for (std::size_t i = 0; i < problem.n(); ++i) {
      value += problem.jacobian(k, i) * s[i];
      size += std::abs(problem.jacobian(k, i)) * std::max(1.0, std::abs(s[i]));
    }
    const bool is_equality = k < problem.num_equalities;
    // An inequality is active, or its multiplier is zero.
    add(is_equality || lambda[k] != 0 ? value : std::min(value, 0.0), size);
    EXPECT_TRUE(is_equality || lambda[k] >= 0) << k;
  }
  for (std::size_t i = 0; i < problem.n(); ++i) {
    EXPECT_GE(lower[i], 0);
    EXPECT_GE(upper[i], 0);
    if (problem.lower.empty()) continue;
    EXPECT_GE(s[i], problem.lower[i]);
    EXPECT_LE(s[i], problem.upper[i]);
    if (lower[i] > 0) add(s[i] - problem.lower[i], std::max(1.0, std::abs(s[i])));
    if (upper[i] > 0) add(s[i] - problem.upper[i], std::max(1.0, std::abs(s[i])));
  }
  return largest;
}

inline void expect_solved(const QpProblem& problem, const QpSolve& solve) {
  ASSERT_EQ(solve.status, QpStatus::kSolved);
  EXPECT_LT(kkt_residual(problem, solve), 1e-11);
}

/// The kind of a random program.
struct QpShape {
  std::size_t n = 1;
  std::size_t m = 0;
  std::size_t num_equalities = 0;
  bool bounded = false;
  double touching = 0.3;   ///< The part of the inequalities and bounds that hold with equality at one feasible point.
  double smallest = 0.01;  ///< Eigenvalue of the Hessian.
};

/// A random program with a feasible point.
inline QpProblem random_qp(const QpShape& shape, Random& random) {
  QpProblem problem(shape.n, shape.m);
  problem.hessian = Matrix::positive_definite(shape.n, shape.smallest, random);
  problem.num_equalities = shape.num_equalities;
  const Vector feasible = random.vector(shape.n);
  for (double& value : problem.gradient) value = random.spread(-1, 2);
  for (std::size_t k = 0; k < shape.m; ++k) {
    const bool touches = k < shape.num_equalities || random.chance(shape.touching);
    problem.constraints[k] = touches ? 0 : random.unit();
    for (std::size_t i = 0; i < shape.n; ++i) {
      problem.jacobian(k, i) = random.uniform(-1, 1);
      problem.constraints[k] -= problem.jacobian(k, i) * feasible[i];
    }
  }
  if (!shape.bounded) return problem;
  const auto room = [&] { return random.chance(0.3) ? kInf : random.chance(shape.touching) ? 0 : random.unit(); };
  for (std::size_t i = 0; i < shape.n; ++i) {
    problem.lower.push_back(feasible[i] - room());
    problem.upper.push_back(feasible[i] + room());
  }
  return problem;
}

/// A program with these rows of the Jacobian, each followed by its constant.
inline QpProblem with_rows(const Vector& gradient, std::initializer_list<Vector> rows, std::size_t num_equalities = 0) {
  QpProblem problem(gradient.size(), rows.size());
  problem.gradient = gradient;
  problem.num_equalities = num_equalities;
  std::size_t k = 0;
  for (const Vector& row : rows) {
    for (std::size_t i = 0; i < gradient.size(); ++i) problem.jacobian(k, i) = row[i];
    problem.constraints[k++] = row.back();
  }
  return problem;
}

inline void expect_near(const Vector& actual, const Vector& expected, double tolerance = 1e-13) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << i;
}

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_SLSQP_QP_PROBLEM_H_
