#ifndef TFMINIMIZE_SOLVERS_SLSQP_DUAL_ACTIVE_SET_QP_H_
#define TFMINIMIZE_SOLVERS_SLSQP_DUAL_ACTIVE_SET_QP_H_

#include <cstddef>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/slsqp/active_set_factors.h"
#include "solvers/slsqp/active_set_guess.h"
#include "solvers/slsqp/ldlt_factors.h"
#include "solvers/slsqp/quadratic_program.h"
#include "solvers/snapshot.h"
#include "solvers/span.h"

namespace tfminimize::solvers {

/// How a quadratic program was solved.
enum class QpStatus {
  kSolved,
  kInfeasible,          ///< The constraints contradict each other.
  kSingularEqualities,  ///< The equalities depend on each other and contradict each other.
  kPivotLimit,          ///< Too many pivots; rounding may have made the method cycle.
};

inline bool contradicts(QpStatus status) {
  return status == QpStatus::kInfeasible || status == QpStatus::kSingularEqualities;
}

/// The dual active-set method of D. Goldfarb, A. Idnani, "A numerically stable dual method for solving strictly convex
/// quadratic programs", Math. Programming 27 (1983), 1-33, on the LDLᵀ factors of B.
///
/// In the coordinates y = D^½·Lᵀ·s, the solution is the point of a polyhedron nearest to y⁰ = -D^(-½)·L⁻¹·g. With the
/// normals of the active constraints, v = D^(-½)·L⁻¹·n, factored as V = Q·R, it is
///
///     y = y⁰ + Q·α,  Rᵀα = b - Vᵀy⁰;    λ = R⁻¹α
///
/// Rows are not scaled. The most violated constraint enters; among equals it is the first in an order that changes as
/// constraints come and go. This is the order of the algorithm NNLS (C. L. Lawson, R. J. Hanson, "Solving Least Squares
/// Problems", 1974, chapter 23), which SciPy applies to the same problem. So the multipliers are SciPy's even if
/// several are right.
///
/// A pivot costs O(n·(n + m)); bounds need no rows. A program begins with the active set of the one before, see
/// ActiveSetGuess.
class DualActiveSetQp {
 public:
  /// For programs of n variables and m constraints.
  DualActiveSetQp(std::size_t n, std::size_t m);

  /// b has order n, or n + 1 if the program has a relaxation.
  QpStatus solve(const LdltFactors& b, const QuadraticProgram& program);

  /// Call this before B += sigma·z·zᵀ, z: [padded(n + 1)], to solve the next program fast. `program` is the latest one
  /// known.
  void prepare_update(const LdltFactors& b, const QuadraticProgram& program, double sigma, const double* z);
  /// Forgets the active set of the last program.
  void forget() { guess_.forget(); }
  /// Takes the active set of the last program of another solver of the same sizes, for a B that is the same too.
  void take(const DualActiveSetQp& other) {
    guess_.take(other.guess_);
    inequalities_ = other.inequalities_;
  }
  /// Forgets all programs: as new.
  void restart() {
    forget();
    inequalities_.clear();
  }
  /// Calls visit(pointer, bytes) for each piece of what the solver keeps from one program to the next.
  template <typename Visit>
  void visit_state(Visit&& visit) {
    guess_.visit_state(visit);
    std::size_t size = inequalities_.size();
    visit_value(visit, size);
    check_saved(size <= rows_.end(), "its number of inequalities");
    inequalities_.resize(size);
    visit_elements(visit, inequalities_);
  }
  /// Throws std::invalid_argument if the state names rows that programs like this one do not have.
  void check_state(const QuadraticProgram& program) const;

  /// The solution, [n], within the bounds.
  Span<const double> solution() const { return {s_.data(), n_}; }
  /// [m] How much was added to c because constraints contradict each other.
  Span<const double> leeway() const { return leeway_; }
  /// The value of the additional variable.
  double relaxation() const { return s_[n_]; }
  /// [m], and [n] each for the lower and upper bounds. Only those of equalities may be negative.
  Span<const double> multipliers() const { return {multipliers_.data(), m_}; }
  Span<const double> lower_multipliers() const { return {multipliers_.data() + rows_.lower(0), n_}; }
  Span<const double> upper_multipliers() const { return {multipliers_.data() + rows_.upper(0), n_}; }
  /// Whether the active set of the last program led to the solution.
  bool guessed() const { return guessed_; }
  /// How many constraints entered or left the active set; 0 if guessed().
  std::size_t pivots() const { return pivots_; }

 private:
  using Row = ConstraintRows::Row;
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  /// A step of the multipliers, towards the point at which the entering constraint is active.
  struct DualStep {
    bool dependent = false;        ///< The entering normal depends on the active ones.
    double rest = 0;               ///< The length of its part that does not.
    double alpha = 0;              ///< At the full step: the element of α of the entering constraint,
    double multiplier = 0;         ///< and its multiplier.
    double length = 0;             ///< How far λ goes; 1 is the full step.
    std::size_t blocking = kNone;  ///< The active constraint that ends a partial step.
  };

  double norm(const AlignedArray<double>& vector) const;
  std::size_t max_pivots() const { return 3 * (candidates_.size() + b_->order()) + 100; }
  bool is_noise(Row row) const;
  bool depends(Row row, const double* coefficients) const;

  void begin(const LdltFactors& b, const QuadraticProgram& program);
  void clear();
  void find_solution();
  QpStatus add_equalities();
  QpStatus add_inequality(std::size_t position);
  std::size_t most_violated() const;
  DualStep find_dual_step(Row entering, double multiplier);
  void find_blocking(DualStep& step) const;
  double contradiction_tolerance() const;
  double dependence_tolerance() const;
  bool is_consistent(Row row, const DualStep& step) const;
  bool give_way();
  void append(Row row, double norm, double alpha, double multiplier);
  void remove(std::size_t index);
  void refine();
  void finish();
  QpStatus solve_from_scratch();

  std::size_t n_;
  std::size_t m_;
  const DenseKernels& kernels_;
  const LdltFactors* b_ = nullptr;
  ConstraintRows rows_;

  ActiveSetGuess guess_;
  bool guessed_ = false;
  ActiveSetFactors factors_;
  std::vector<Row> active_;        ///< The constraint of each column of V,
  std::vector<double> lambda_;     ///< their multipliers,
  std::vector<double> alpha_;      ///< and α.
  std::vector<Row> candidates_;    ///< The inequalities in NNLS's order, active ones first.
  std::vector<Row> inequalities_;  ///< The inequalities of the last program.
  std::size_t num_active_ = 0;     ///< How many candidates are active.
  std::vector<Row> rejected_;      ///< Candidates that only rounding violates.
  std::size_t pivots_ = 0;

  AlignedArray<double> y_;
  double start_length_ = 0;  ///< ‖y⁰‖
  AlignedArray<double> s_;
  double unconstrained_length_ = 0;  ///< ‖s‖ without constraints.
  bool refined_ = false;
  AlignedArray<double> v_;             ///< The normal of the entering constraint,
  AlignedArray<double> z_;             ///< its part orthogonal to Q,
  std::vector<double> d_;              ///< and Qᵀv.
  mutable AlignedArray<double> rest_;  ///< Its part that the active normals leave.
  std::vector<double> target_;         ///< λ at the full step; or the direction of -λ, see find_dual_step().
  std::vector<double> multipliers_;    ///< Of every row.

  Row contradicting_ = 0;          ///< The row that the active ones, times target_, contradict,
  double contradiction_size_ = 0;  ///< and by how much.
  double total_leeway_ = 0;
  std::vector<double> leeway_;
  std::vector<double> constraints_;  ///< c plus the leeway.
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_DUAL_ACTIVE_SET_QP_H_
