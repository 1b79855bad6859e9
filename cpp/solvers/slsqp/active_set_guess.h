#ifndef TFMINIMIZE_SOLVERS_SLSQP_ACTIVE_SET_GUESS_H_
#define TFMINIMIZE_SOLVERS_SLSQP_ACTIVE_SET_GUESS_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/slsqp/active_set_factors.h"
#include "solvers/slsqp/ldlt_factors.h"
#include "solvers/slsqp/quadratic_program.h"
#include "solvers/slsqp/upper_triangle.h"

namespace tfminimize::solvers {

/// A warm start: solves a quadratic program from the active set of a similar one.
///
/// If W is the active set and N its normals, the multipliers solve K·λ = b + N·B⁻¹·g with K = N·B⁻¹·Nᵀ. The factor R of
/// K = RᵀR is updated as B and W change; a normal that has changed leaves and enters again. If many have, as those of
/// nonlinear constraints do, R is computed anew, for all of them at once: K = VᵀV with V = D^(-½)·L⁻¹·Nᵀ. R
/// preconditions conjugate gradients, which correct what the updates lost, mostly in one step. Then constraints with a
/// multiplier that is not positive leave W, violated ones enter, and the next round begins (M. Hintermüller, K. Ito, K.
/// Kunisch, "The primal-dual active set strategy as a semismooth Newton method", SIAM J. Optim. 13 (2002), 865-888).
///
/// This may cycle, and if several multipliers are right, it may find others than the dual method. So it answers only if
/// the solution is unique: the active normals are clearly independent, their multipliers are positive, and no other
/// constraint is active.
class ActiveSetGuess {
 public:
  using Row = ConstraintRows::Row;

  /// For programs of n variables and m constraints.
  ActiveSetGuess(std::size_t n, std::size_t m);

  /// Remembers an active set with its multipliers and r, the factor of its K.
  void learn(const ConstraintRows& rows, const std::vector<Row>& active, const std::vector<double>& lambda,
             const UpperTriangle& r);
  /// Remembers what another one does, of programs of the same sizes and the same B.
  void take(const ActiveSetGuess& other) {
    active_ = other.active_;
    lambda_ = other.lambda_;
    fingerprints_ = other.fingerprints_;
    r_ = other.r_;
    has_compared_ = false;
  }
  void forget() { active_.clear(); }
  /// Call this before B += sigma·z·zᵀ, z: [padded(n + 1)].
  void prepare_update(const LdltFactors& b, const ConstraintRows& rows, double sigma, const double* z);
  bool empty() const { return active_.empty(); }

  /// Solves for s, [padded(n + 1)], if the solution is unique, and remembers its active set. candidates: the
  /// inequalities. Else returns false and forgets everything. In either case it may use the memory of `room`.
  bool solve(const LdltFactors& b, ConstraintRows& rows, const std::vector<Row>& candidates, double* s,
             ActiveSetFactors& room);

  const std::vector<Row>& active() const { return active_; }
  const std::vector<double>& lambda() const { return lambda_; }

  /// Calls visit(pointer, bytes) for each piece of the state.
  template <typename Visit>
  void visit_state(Visit&& visit) {
    std::size_t size = active_.size();
    visit_value(visit, size);
    has_compared_ = false;
    check_saved(size <= n_, "its number of active constraints");
    active_.resize(size);
    lambda_.resize(size);
    fingerprints_.resize(size);
    visit_elements(visit, active_);
    visit_elements(visit, fingerprints_);
    visit_elements(visit, lambda_);
    if (size == 0) return;
    r_.visit_state(visit);
    check_saved(r_.size() == size || is_stale(), "its number of active constraints");
  }

 private:
  bool solve_multipliers(const LdltFactors& b, const ConstraintRows& rows, double* s);
  void find_solution(const LdltFactors& b, const ConstraintRows& rows, double* s) const;
  double evaluate_residual(const ConstraintRows& rows, const double* s);
  bool iterate_conjugate_gradients(const LdltFactors& b, const ConstraintRows& rows, double* s);
  bool update_set(const LdltFactors& b, const ConstraintRows& rows, const std::vector<Row>& candidates,
                  ActiveSetFactors& room, std::size_t& changes);
  /// Whether R is not known.
  bool is_stale() const { return r_.size() == 0 && !empty(); }
  std::size_t list_changed(const ConstraintRows& rows);
  bool replace_changed_rows(const LdltFactors& b, const ConstraintRows& rows, ActiveSetFactors& room);
  bool is_faster_anew(std::size_t leaving, std::size_t entering) const;
  void leave(ActiveSetFactors& room, bool from_r);
  void push(const ConstraintRows& rows, Row row, double lambda);
  bool enter_all(const LdltFactors& b, const ConstraintRows& rows, ActiveSetFactors& room);
  bool enter(const LdltFactors& b, const ConstraintRows& rows, Row row, double lambda, ActiveSetFactors& room);
  bool factorize(const LdltFactors& b, const ConstraintRows& rows, ActiveSetFactors& room);
  bool is_well_conditioned() const;
  void precondition(std::vector<double>& vector) const;

  std::size_t n_;
  const DenseKernels& kernels_;
  std::vector<Row> active_;
  std::vector<double> lambda_;
  std::vector<std::uint64_t> fingerprints_;  ///< Of the normals in R.
  std::vector<char> is_active_;              ///< Of every row.
  UpperTriangle r_;
  std::size_t num_transformed_ = 0;               ///< The rows of V in `room` are those of the first so many of W.
  bool has_compared_ = false;                     ///< The present normals with those in R, since the last program.
  std::vector<char> leaves_;                      ///< Of every row of W.
  std::vector<std::pair<Row, double>> entering_;  ///< Rows with their multipliers.
  std::vector<double> residual_;
  std::vector<double> tolerance_;
  std::vector<double> direction_;
  std::vector<double> preconditioned_;
  AlignedArray<double> step_;  ///< B⁻¹·Nᵀ·direction
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_ACTIVE_SET_GUESS_H_
