#ifndef TFMINIMIZE_SOLVERS_DUAL_ACTIVE_SET_QP_H_
#define TFMINIMIZE_SOLVERS_DUAL_ACTIVE_SET_QP_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "solvers/active_set_factors.h"
#include "solvers/aligned_array.h"
#include "solvers/dense_kernels.h"
#include "solvers/ldlt_factors.h"
#include "solvers/span.h"

namespace tfminimize {

/// A strictly convex quadratic program in s:
///
///     minimize ½·sᵀBs + gᵀs   subject to   c_i + J_i·s = 0   for i < num_equalities
///                                          c_i + J_i·s >= 0  for the other i < m
///                                          lower <= s <= upper
///
/// J is held row by row, stride(n) doubles each, those behind the first n zero. A bound that is not finite is none.
struct QuadraticProgram {
  Span<const double> gradient;     ///< [n]
  Span<const double> constraints;  ///< [m], c
  Span<const double> jacobian;     ///< [m * padded(n)]
  std::size_t num_equalities = 0;
  Span<const double> lower;  ///< [n], or empty
  Span<const double> upper;  ///< [n], or empty
  std::size_t num_variables =
      0;  ///< If not 0: where so many equalities are independent they leave nothing to choose; the
          ///< inequalities are then not looked at, the solution is only moved into the bounds.
  Span<const double> relaxation;  ///< [m], or empty: the column of J for one more variable, which is in [0, 1], and
                                  ///< that B has been extended by.
};

/// How a quadratic program was solved.
enum class QpStatus {
  kSolved,
  kInfeasible,          ///< The constraints contradict each other.
  kSingularEqualities,  ///< The equalities depend on each other and contradict each other.
  kPivotLimit,          ///< Too many pivots; rounding may have made the method go round in circles.
};

/// The dual active-set method of D. Goldfarb, A. Idnani, "A numerically stable dual method for solving strictly convex
/// quadratic programs", Math. Programming 27 (1983), 1-33, on the LDLᵀ factors of B.
///
/// In the coordinates y = D^½·Lᵀ·s the program is to find the point of a polyhedron that is nearest to
/// y⁰ = -D^(-½)·L⁻¹·g. The normals of the active constraints, v = D^(-½)·L⁻¹·n, are held as V = Q·R, so that
///
///     y = y⁰ + Q·α,  Rᵀα = b - Vᵀy⁰;    λ = R⁻¹α
///
/// Rows are not scaled, and the constraint that enters is the most violated one, the first of equals in an order that
/// changes as constraints come and go: this is the order in which the algorithm NNLS takes them that C. L. Lawson,
/// R. J. Hanson, "Solving Least Squares Problems", 1974, chapter 23, and with it SciPy, apply to the same problem, so
/// that multipliers are the same where several are right.
///
/// A pivot costs O(n·(n + m)); bounds cost no rows.
class DualActiveSetQp {
 public:
  /// For programs of n variables and m constraints.
  DualActiveSetQp(std::size_t n, std::size_t m);

  /// `b` has order n, or n + 1 where the program has a relaxation.
  QpStatus solve(const LdltFactors& b, const QuadraticProgram& program);

  /// The solution, [n], within the bounds.
  Span<const double> solution() const { return {s_.data(), n_}; }
  /// The value of the additional variable.
  double relaxation() const { return s_[n_]; }
  /// [m] and, of lower and upper bounds, [n] each. All but those of equalities are not negative.
  Span<const double> multipliers() const { return {multipliers_.data(), m_}; }
  Span<const double> lower_multipliers() const { return {multipliers_.data() + m_, n_}; }
  Span<const double> upper_multipliers() const { return {multipliers_.data() + m_ + order_, n_}; }
  /// How many constraints came into and went from the active set.
  std::size_t pivots() const { return pivots_; }

 private:
  /// A constraint: i < m is c_i; then come order() lower bounds, then as many upper bounds.
  using Row = std::uint32_t;

  std::size_t lower_row(std::size_t variable) const { return m_ + variable; }
  std::size_t upper_row(std::size_t variable) const { return m_ + order_ + variable; }
  double bound(std::size_t row) const;  ///< b_i of n_iᵀs >= b_i
  double norm(const AlignedArray<double>& vector) const;
  double normal_length(std::size_t row) const;
  double slack(std::size_t row) const;  ///< n_iᵀs - b_i
  bool is_violated(std::size_t row) const;
  bool is_noise(std::size_t row) const;

  void begin(const LdltFactors& b, const QuadraticProgram& program);
  void list_inequalities();
  void write_normal(std::size_t row, double* v) const;
  std::size_t first_nonzero(std::size_t row) const;
  void find_solution();
  void multiply_rows();
  QpStatus add_equalities();
  QpStatus add_inequality(std::size_t position);
  std::size_t most_violated() const;
  QpStatus reject(Row entering);
  void append(Row row, double norm, double alpha, double multiplier);
  void remove(std::size_t index);
  bool depends(std::size_t row, const double* coefficients) const;
  void refine();
  void store_multipliers();

  std::size_t n_;
  std::size_t m_;
  std::size_t order_ = 0;
  const DenseKernels& kernels_;
  const LdltFactors* b_ = nullptr;
  QuadraticProgram program_;

  ActiveSetFactors factors_;
  std::vector<Row> active_;      ///< The constraint of each column of V.
  std::vector<double> lambda_;   ///< Their multipliers,
  std::vector<double> alpha_;    ///< and α.
  std::vector<Row> candidates_;  ///< The inequalities in NNLS's order, the active ones first.
  std::size_t num_active_ = 0;   ///< How many are.
  std::vector<Row> rejected_;    ///< Those that only rounding violates.
  std::size_t pivots_ = 0;

  AlignedArray<double> y_;
  double start_length_ = 0;  ///< ‖y⁰‖
  AlignedArray<double> s_;
  double s_length_ = 0;
  double unconstrained_length_ = 0;  ///< ‖s‖ without any constraint.
  bool refined_ = false;
  AlignedArray<double> v_;  ///< The normal of the constraint that enters,
  AlignedArray<double> z_;  ///< its part that is orthogonal to Q,
  std::vector<double> d_;   ///< and Qᵀv.
  std::vector<double> target_;
  std::vector<double> products_;  ///< [m], J·s
  std::vector<double> multipliers_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_SOLVERS_DUAL_ACTIVE_SET_QP_H_
