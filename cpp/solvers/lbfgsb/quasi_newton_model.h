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
/// J. L. Morales, J. Nocedal, ACM Trans. Math. Softw. 38 (2011), section 3). The Cauchy point itself is looked for only
/// where it may have other free variables than x.
///
/// An iteration makes two passes over W = (S, Y): one to form the direction and its products with W, one to form
/// y and the products with it. Everything between is done with matrices of order 2m.
class QuasiNewtonModel {
 public:
  /// v.w is set to the columns of the model.
  QuasiNewtonModel(Vectors& v, std::size_t m);

  const CompactBfgsMatrix& matrix() const { return matrix_; }

  /// Moves x to the end of the full step: d = z - x is put into direction_column(), x and g into start and
  /// start_gradient, z into x. Nothing where the arithmetic breaks down or d is not a descent direction; x is then
  /// where it was.
  std::optional<DirectionSums> find_direction();

  /// Takes x = start + step·d with its gradient as the new iterate, and the pair (step·d, y) into the matrix if it
  /// shows enough curvature. s_dot_y is measured along the line.
  void accept(double step, double s_dot_y, bool stores_pair);

  /// Forgets all pairs: B = I.
  void reset();
  /// Forgets all that it knows of a solve: as new.
  void restart();

  /// Calls visit(pointer, bytes) for each piece of the state that is not in `Vectors`.
  template <typename Visit>
  void visit_state(Visit&& visit);

 private:
  /// Throws std::invalid_argument if `positions_` cannot be.
  void check_positions() const;

  /// After a change of x without a new pair: what find_direction() needs to know of x.
  void look_around();
  std::optional<DirectionSums> find_bounded_direction();
  /// The step from x to the minimizer of the model over the variables that are free there. Nothing where the
  /// arithmetic breaks down.
  std::optional<Combination> newton_step();
  /// Whether the Cauchy point surely comes before the path meets a bound, so that this step leads to the minimizer.
  /// With d = -g over the free variables it lies at t = dᵀd / dᵀBd, and by the inequality of Cauchy and Schwarz for
  /// B^½d and B^-½d this is at most dᵀB⁻¹d / dᵀd. (B and its inverse are those over the free variables.)
  bool is_before_first_breakpoint(const Combination& newton_step) const;
  /// Finds it, and who is at a bound there. False where the arithmetic breaks down.
  bool find_cauchy_point(const CauchySums& sums);
  /// The step from the Cauchy point to the minimizer of the model over the free variables.
  std::optional<Combination> subspace_step();
  /// Shortens that step until it meets its first bound, where its projection does not descend.
  DirectionSums shorten(const Combination& step);
  DirectionSums step_from_cauchy_point(const double* from, double cauchy_step, const Combination& step);
  /// Makes new_positions_ the present ones, over which the products in the matrix are taken. True if the set of free
  /// variables has changed.
  bool change_free_set();

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
  AlignedArray<std::uint8_t> positions_;        ///< Those that the products in the matrix are taken over,
  AlignedArray<std::uint8_t> new_positions_;    ///< and the next.
  std::size_t num_bound_ = 0;                   ///< How many variables are not free.
  std::vector<double> free_dots_, other_dots_;  ///< [2m + 1], (S, d, Y)ᵀd over the free variables and the others.
  std::vector<double> small_;                   ///< [2m]
};

template <typename Visit>
void QuasiNewtonModel::visit_state(Visit&& visit) {
  matrix_.visit_state(visit);
  if (!bounded_) return;
  visit(positions_.data(), positions_.size());
  visit(&num_bound_, sizeof num_bound_);
  check_positions();
  visit(free_dots_.data(), free_dots_.size() * sizeof(double));
  visit(other_dots_.data(), other_dots_.size() * sizeof(double));
}

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LBFGSB_QUASI_NEWTON_MODEL_H_
