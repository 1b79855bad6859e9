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
#include "solvers/span.h"

namespace tfminimize::solvers {

/// How a quadratic program was solved.
enum class QpStatus {
  kSolved,
  kInfeasible,          ///< The constraints contradict each other.
  kSingularEqualities,  ///< The equalities depend on each other and contradict each other.
  kPivotLimit,          ///< Too many pivots; rounding may have made the method go round in circles.
};

inline bool contradicts(QpStatus status) {
  return status == QpStatus::kInfeasible || status == QpStatus::kSingularEqualities;
}

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
/// A pivot costs O(n·(n + m)); bounds cost no rows. Programs that are solved one after another begin with the active
/// set of the last one, see ActiveSetGuess.
class DualActiveSetQp {
 public:
  /// For programs of n variables and m constraints.
  DualActiveSetQp(std::size_t n, std::size_t m);

  /// `b` has order n, or n + 1 where the program has a relaxation.
  QpStatus solve(const LdltFactors& b, const QuadraticProgram& program);

  /// To be told before B += sigma·z·zᵀ, z: [padded(n + 1)], so that the next program, the rows of which are best known
  /// from `program`, is solved fast.
  void model_changes(const LdltFactors& b, const QuadraticProgram& program, double sigma, const double* z);
  /// Forgets the active set of the last program.
  void forget() { guess_.forget(); }
  /// Forgets all of it: as new.
  void restart() {
    forget();
    inequalities_.clear();
  }
  /// Calls visit(pointer, bytes) for each piece of what is kept from one program to the next.
  template <typename Visit>
  void visit(Visit&& visit) {
    guess_.visit(visit);
    std::size_t size = inequalities_.size();
    visit(&size, sizeof size);
    check_saved(size <= rows_.end(), "its number of inequalities");
    inequalities_.resize(size);
    visit(inequalities_.data(), size * sizeof(Row));
  }
  /// Throws std::invalid_argument if what was visited names rows that programs like this one do not have.
  void check_state(const QuadraticProgram& program) const;

  /// The solution, [n], within the bounds.
  Span<const double> solution() const { return {s_.data(), n_}; }
  /// [m] What was added to c, where constraints that contradict each other had to give way.
  Span<const double> leeway() const { return leeway_; }
  /// The value of the additional variable.
  double relaxation() const { return s_[n_]; }
  /// [m] and, of lower and upper bounds, [n] each. All but those of equalities are not negative.
  Span<const double> multipliers() const { return {multipliers_.data(), m_}; }
  Span<const double> lower_multipliers() const { return {multipliers_.data() + rows_.lower(0), n_}; }
  Span<const double> upper_multipliers() const { return {multipliers_.data() + rows_.upper(0), n_}; }
  /// Whether the active set of the last program led to the solution.
  bool guessed() const { return guessed_; }
  /// How many constraints came into and went from the active set; 0 if guessed().
  std::size_t pivots() const { return pivots_; }

 private:
  using Row = ConstraintRows::Row;
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  /// A step of the multipliers.
  struct Move {
    bool dependent = false;        ///< The entering normal depends on the active ones.
    double rest = 0;               ///< Length of its part that does not.
    double alpha = 0;              ///< Where the entering constraint is active: its element of α,
    double multiplier = 0;         ///< and its multiplier.
    double step = 0;               ///< How far λ moves; 1 is there.
    std::size_t blocking = kNone;  ///< The active constraint that ends the move before.
  };

  double norm(const AlignedArray<double>& vector) const;
  std::size_t most_pivots() const { return 3 * (candidates_.size() + b_->order()) + 100; }
  bool is_noise(Row row) const;
  bool depends(Row row, const double* coefficients) const;

  void begin(const LdltFactors& b, const QuadraticProgram& program);
  void clear();
  void find_solution();
  QpStatus add_equalities();
  QpStatus add_inequality(std::size_t position);
  std::size_t most_violated() const;
  Move find_move(Row entering, double multiplier);
  void find_blocking(Move& move) const;
  double contradiction() const;
  double nearly_dependent() const;
  bool is_consistent(Row row, const Move& move) const;
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
  std::vector<Row> candidates_;    ///< The inequalities in NNLS's order, the active ones first.
  std::vector<Row> inequalities_;  ///< Those of the last program.
  std::size_t num_active_ = 0;     ///< How many are.
  std::vector<Row> rejected_;      ///< Those that only rounding violates.
  std::size_t pivots_ = 0;

  AlignedArray<double> y_;
  double start_length_ = 0;  ///< ‖y⁰‖
  AlignedArray<double> s_;
  double unconstrained_length_ = 0;  ///< ‖s‖ without any constraint.
  bool refined_ = false;
  AlignedArray<double> v_;             ///< The normal of the constraint that enters,
  AlignedArray<double> z_;             ///< its part that is orthogonal to Q,
  std::vector<double> d_;              ///< and Qᵀv.
  mutable AlignedArray<double> rest_;  ///< What the active normals leave of it.
  std::vector<double> target_;
  std::vector<double> multipliers_;  ///< Of every row.

  Row contradicting_ = 0;          ///< The row that the active ones, times `target_`, contradict,
  double contradiction_size_ = 0;  ///< and what it misses.
  double total_leeway_ = 0;
  std::vector<double> leeway_;
  std::vector<double> constraints_;  ///< c with the leeway.
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_DUAL_ACTIVE_SET_QP_H_
