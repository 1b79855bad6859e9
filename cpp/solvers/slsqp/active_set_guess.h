#ifndef TFMINIMIZE_SOLVERS_SLSQP_ACTIVE_SET_GUESS_H_
#define TFMINIMIZE_SOLVERS_SLSQP_ACTIVE_SET_GUESS_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/slsqp/ldlt_factors.h"
#include "solvers/slsqp/quadratic_program.h"
#include "solvers/slsqp/upper_triangle.h"

namespace tfminimize::solvers {

/// Solves a quadratic program from the active set of one like it.
///
/// With the active set W known, the multipliers solve K·λ = b + N·B⁻¹·g, K = N·B⁻¹·Nᵀ, N the active normals. The factor
/// R of K = RᵀR is carried along as B and W change, and a normal that has changed leaves and enters again; conjugate
/// gradients that are preconditioned by it make up for what it lost on the way, mostly in one step. Constraints whose
/// multiplier is not positive then leave W, violated ones enter, and it starts again (M. Hintermüller, K. Ito, K.
/// Kunisch, "The primal-dual active set strategy as a semismooth Newton method", SIAM J. Optim. 13 (2002), 865-888).
///
/// This need not end, and where several multipliers are right it may find others than the dual method. So an answer is
/// given only if there is but one: the active normals are well independent, their multipliers greater than zero, and no
/// other constraint is active.
class ActiveSetGuess {
 public:
  using Row = ConstraintRows::Row;

  /// For programs of n variables and m constraints.
  ActiveSetGuess(std::size_t n, std::size_t m);

  /// Remembers an active set with its multipliers; r: the factor of its K.
  void learn(const ConstraintRows& rows, const std::vector<Row>& active, const std::vector<double>& lambda,
             const UpperTriangle& r);
  void forget() { active_.clear(); }
  /// To be told before B += sigma·z·zᵀ, z: [padded(n + 1)].
  void model_changes(const LdltFactors& b, const ConstraintRows& rows, double sigma, const double* z);
  bool empty() const { return active_.empty(); }

  /// Solves for s, [padded(n + 1)], if it can vouch for the answer; candidates: the inequalities. What it knows of the
  /// active set then is that of this program. Else false, and nothing is known any more.
  bool solve(const LdltFactors& b, ConstraintRows& rows, const std::vector<Row>& candidates, double* s);

  const std::vector<Row>& active() const { return active_; }
  const std::vector<double>& lambda() const { return lambda_; }

  /// Calls visit(pointer, bytes) for each piece of it.
  template <typename Visit>
  void visit(Visit&& visit) {
    std::size_t size = active_.size();
    visit(&size, sizeof size);
    check_saved(size <= n_, "its number of active constraints");
    active_.resize(size);
    lambda_.resize(size);
    fingerprints_.resize(size);
    visit(active_.data(), size * sizeof(Row));
    visit(fingerprints_.data(), size * sizeof(std::uint64_t));
    visit(lambda_.data(), size * sizeof(double));
    if (size == 0) return;
    r_.visit(visit);
    check_saved(r_.size() == size, "its number of active constraints");
  }

 private:
  bool converge(const LdltFactors& b, const ConstraintRows& rows, double* s);
  double evaluate_residual(const ConstraintRows& rows, const double* s);
  bool improve(const LdltFactors& b, const ConstraintRows& rows, double* s);
  bool change_set(const LdltFactors& b, const ConstraintRows& rows, const std::vector<Row>& candidates, bool& changed);
  bool replace_changed_rows(const LdltFactors& b, const ConstraintRows& rows);
  bool enter_all(const LdltFactors& b, const ConstraintRows& rows);
  bool enter(const LdltFactors& b, const ConstraintRows& rows, Row row, double lambda);
  void leave(std::size_t k);
  bool is_well_conditioned() const;
  void precondition(std::vector<double>& vector) const;

  std::size_t n_;
  const DenseKernels& kernels_;
  std::vector<Row> active_;
  std::vector<double> lambda_;
  std::vector<std::uint64_t> fingerprints_;  ///< Of the normals that R is made of.
  std::vector<char> is_active_;              ///< Of every row.
  UpperTriangle r_;
  std::vector<std::pair<Row, double>> entering_;  ///< Rows with their multipliers.
  std::vector<double> residual_;
  std::vector<double> tolerance_;
  std::vector<double> direction_;
  std::vector<double> preconditioned_;
  AlignedArray<double> step_;  ///< B⁻¹·Nᵀ·direction
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_ACTIVE_SET_GUESS_H_
