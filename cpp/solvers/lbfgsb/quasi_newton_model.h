#ifndef TFMINIMIZE_SOLVERS_LBFGSB_QUASI_NEWTON_MODEL_H_
#define TFMINIMIZE_SOLVERS_LBFGSB_QUASI_NEWTON_MODEL_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/kernels/kernels.h"
#include "solvers/lbfgsb/cauchy_point.h"
#include "solvers/lbfgsb/compact_bfgs_matrix.h"

namespace tfminimize::solvers {

/// The quadratic model of L-BFGS-B and the search direction that it gives.
///
/// Without bounds the direction is -B⁻¹g. With bounds it leads to the minimizer of the model over the variables that
/// are free at the generalized Cauchy point, projected into the bounds (Byrd, Lu, Nocedal & Zhu 1995, section 5.1;
/// J. L. Morales, J. Nocedal, ACM Trans. Math. Softw. 38 (2011), section 3). The model looks for the Cauchy point only
/// if it may have other free variables than x.
///
/// An iteration makes two passes over W = (S, Y): one forms the direction and its products with W, the other forms y
/// and its products with W. All other work is on matrices of order 2m.
class QuasiNewtonModel {
 public:
  /// Sets v.w to the columns of the model, and v.scratch.
  QuasiNewtonModel(Vectors& v, std::size_t m, Storage storage = Storage::kFloat64);

  const CompactBfgsMatrix& matrix() const { return matrix_; }

  /// Moves x to the end z of the full step. direction_column() then holds d = z - x, start and start_gradient hold the
  /// old x and g. Returns nothing, and leaves x in place, if the arithmetic breaks down or d does not descend.
  std::optional<DirectionSums> find_direction();

  /// Makes x = start + step·d the new iterate, and stores the pair (step·d, y) in the matrix if stores_pair. s_dot_y is
  /// what the line search measured.
  void accept(double step, double s_dot_y, bool stores_pair);

  /// Computes what find_direction() needs, after x has changed without a new pair.
  void update_products();
  /// Takes the newest pairs of another model of a new solve; see CompactBfgsMatrix::take_pairs().
  bool take_pairs(const QuasiNewtonModel& other) { return matrix_.take_pairs(other.matrix_); }
  /// Forgets all pairs: B = I.
  void reset();
  /// Forgets the last solve: as new.
  void restart();

  /// Calls visit(pointer, bytes) for each piece of the state, except the Vectors.
  template <typename Visit>
  void visit_state(Visit&& visit);

 private:
  /// Throws std::invalid_argument if the variables cannot have these positions.
  void check_positions() const;

  std::optional<DirectionSums> find_bounded_direction();
  /// The step from x to the minimizer of the model over the variables that are free at x. Nothing if the arithmetic
  /// breaks down.
  std::optional<Combination> newton_step();
  /// Whether the path surely reaches the Cauchy point before a bound; then this step leads to the minimizer. With d =
  /// -g over the free variables, the Cauchy point is at t = dᵀd / dᵀBd. By the Cauchy-Schwarz inequality for B^½d and
  /// B^-½d, t is at most dᵀB⁻¹d / dᵀd. (B and its inverse are those over the free variables.)
  bool is_before_first_breakpoint(const Combination& newton_step) const;
  /// Finds it, and the variables that are at a bound there. False if the arithmetic breaks down.
  bool find_cauchy_point(const CauchySums& sums);
  /// The step from the Cauchy point to the minimizer of the model over the free variables.
  std::optional<Combination> subspace_step();
  /// Truncates that step at the first bound on its way, because its projection does not descend.
  DirectionSums truncate(const Combination& step);
  DirectionSums step_from_cauchy_point(const double* from, double cauchy_step, const Combination& step);
  /// Makes new_positions_ the present ones, and updates the products in the matrix. True if the set of free variables
  /// has changed.
  bool update_free_set();

  Vectors& v_;
  const bool bounded_;
  const Kernels& kernels_;
  CompactBfgsMatrix matrix_;
  AlignedArray<double> scratch_;
  std::vector<double> coefficients_;  ///< [2m], of a step.
  std::vector<double> y_dots_;        ///< [2m], (S, Y)ᵀy.
  std::vector<double> g_dots_;        ///< [2m], (S, Y)ᵀg; with bounds, (S, Y)ᵀd_c.

  // With bounds only.
  GeneralizedCauchyPoint cauchy_;
  CauchySums cauchy_sums_;
  AlignedArray<std::uint8_t> positions_;         ///< Those of the products in the matrix,
  AlignedArray<std::uint8_t> new_positions_;     ///< and the next ones.
  std::size_t num_active_ = 0;                   ///< Variables that are not free.
  std::vector<double> free_dots_, active_dots_;  ///< [2m + 1], (S, d, Y)ᵀd over the free and the active variables.
  std::vector<double> small_;                    ///< [2m]
};

template <typename Visit>
void QuasiNewtonModel::visit_state(Visit&& visit) {
  matrix_.visit_state(visit);
  if (!bounded_) return;
  visit_elements(visit, positions_);
  visit_value(visit, num_active_);
  check_positions();
  visit_elements(visit, free_dots_);
  visit_elements(visit, active_dots_);
}

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LBFGSB_QUASI_NEWTON_MODEL_H_
