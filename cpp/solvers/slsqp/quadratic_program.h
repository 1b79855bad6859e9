#ifndef TFMINIMIZE_SOLVERS_SLSQP_QUADRATIC_PROGRAM_H_
#define TFMINIMIZE_SOLVERS_SLSQP_QUADRATIC_PROGRAM_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "solvers/kernels/dense_kernels.h"
#include "solvers/span.h"

namespace tfminimize::solvers {

/// A strictly convex quadratic program in s, without its matrix B:
///
///     minimize ½·sᵀBs + gᵀs   subject to   c_i + J_i·s = 0   for i < num_equalities
///                                          c_i + J_i·s >= 0  for the other i < m
///                                          lower <= s <= upper
///
/// J is stored row by row, padded(n) doubles each, with zeros in the padding. An infinite bound does not bound.
struct QuadraticProgram {
  Span<const double> gradient;     ///< [n]
  Span<const double> constraints;  ///< [m], c
  Span<const double> jacobian;     ///< [m * padded(n)]
  std::size_t num_equalities = 0;
  Span<const double> lower;  ///< [n], or empty
  Span<const double> upper;  ///< [n], or empty
  /// If not 0: this many independent equalities determine s. The solver then ignores the inequalities, and only moves
  /// the solution into the bounds.
  std::size_t num_variables = 0;
  /// [m], or empty: the column of J for one more variable in [0, 1], by which B has been extended.
  Span<const double> relaxation;
  double precision = std::numeric_limits<double>::epsilon();  ///< The relative precision of J.
  double tolerance = 0;  ///< Constraints that contradict each other may give way by less than this in total.
};

/// The constraints of a quadratic program as rows n_iᵀs = b_i or n_iᵀs >= b_i. It does not store the rows of bounds.
///
/// Row i < m is constraint i. Then come the lower bounds of n + 1 variables and their upper bounds; variable n is that
/// of the relaxation.
class ConstraintRows {
 public:
  using Row = std::size_t;

  /// For programs of n variables and m constraints.
  ConstraintRows(std::size_t n, std::size_t m);

  /// Makes the rows those of this program, whose spans must stay valid.
  void set_program(const QuadraticProgram& program) { program_ = program; }
  const QuadraticProgram& program() const { return program_; }
  /// Replaces c, [m], of the program.
  void set_constraints(Span<const double> constraints) { program_.constraints = constraints; }

  Row lower(std::size_t variable) const { return m_ + variable; }
  Row upper(std::size_t variable) const { return m_ + n_ + 1 + variable; }
  /// One more than the last row.
  std::size_t end() const { return m_ + 2 * (n_ + 1); }
  bool is_equality(Row row) const { return row < program_.num_equalities; }
  bool is_bound(Row row) const { return row >= m_; }
  /// The other bound of the variable, if the row is a bound; else the row itself.
  Row opposite(Row row) const {
    if (row < m_) return row;
    return is_lower(row) ? upper(variable(row)) : lower(variable(row));
  }
  /// Lists the inequalities and the finite bounds, in order.
  void list_inequalities(std::vector<Row>& rows) const;

  double bound(Row row) const;   ///< b_i
  double length(Row row) const;  ///< ‖n_i‖
  /// A hash of n_i.
  std::uint64_t fingerprint(Row row) const;
  /// v = n_i. v: [padded(n + 1)]
  void write_normal(Row row, double* v) const;
  /// v += a·n_i
  void add_normal(Row row, double a, double* v) const;
  /// n_iᵀx. x: [padded(n + 1)]
  double product(Row row, const double* x) const;
  /// n_i is zero before this element, a multiple of 8.
  std::size_t first_nonzero(Row row) const { return row < m_ ? 0 : variable(row) / 8 * 8; }

  /// Makes the slacks those at s, [padded(n + 1)], which must stay in place.
  void evaluate(double* s);
  /// n_iᵀs - b_i
  double slack(Row row) const { return (row < m_ ? products_[row] : product(row, s_)) - bound(row); }
  /// The size of the terms of the slack.
  double scale(Row row) const;
  /// Whether s violates the row by more than rounding.
  bool is_violated(Row row) const;
  double s_length() const { return s_length_; }  ///< ‖s‖

 private:
  bool is_lower(Row row) const { return row < upper(0); }
  std::size_t variable(Row row) const { return row - (is_lower(row) ? lower(0) : upper(0)); }
  const double* normal(Row row) const { return program_.jacobian.data() + row * padded(n_); }

  std::size_t n_;
  std::size_t m_;
  const DenseKernels& kernels_;
  QuadraticProgram program_;
  const double* s_ = nullptr;
  double s_length_ = 0;
  std::vector<double> products_;  ///< [m], J·s
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_QUADRATIC_PROGRAM_H_
