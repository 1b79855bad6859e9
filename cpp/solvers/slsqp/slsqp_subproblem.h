#ifndef TFMINIMIZE_SOLVERS_SLSQP_SLSQP_SUBPROBLEM_H_
#define TFMINIMIZE_SOLVERS_SLSQP_SLSQP_SUBPROBLEM_H_

#include <cstddef>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/slsqp/dual_active_set_qp.h"
#include "solvers/slsqp/ldlt_factors.h"
#include "solvers/slsqp/slsqp.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {

/// The quadratic subproblem of Slsqp. Its solution is the search direction.
///
///     minimize ½·sᵀBs + gᵀs   subject to the linearised constraints and lower <= x + s <= upper
///
/// B begins as the identity and approximates the Hessian of the Lagrangian. If the linearised constraints contradict
/// each other, one more variable δ relaxes them as far as needed (Kraft 1988, section 2.2.3).
class SlsqpSubproblem {
 public:
  explicit SlsqpSubproblem(const Problem& problem);

  /// Solves it at the present x and writes the step, [padded(n + 1)]. Returns kRunning, or why it failed. If
  /// constraints contradict each other by less than options.ftol in total, they give way by that much.
  SlsqpStatus solve(double* step, const SlsqpOptions& options = {});

  /// [m] Lagrange multipliers of the constraints at the last solution.
  const std::vector<double>& multipliers() const { return lambda_; }
  /// Whether the solver had to relax the constraints.
  bool relaxed() const { return relaxed_; }
  /// [m] How much was added to the constraints that gave way.
  const std::vector<double>& leeway() const { return leeway_; }
  /// The share of the linearised constraints that the step satisfies: 1 - δ.
  double feasible_share() const { return feasible_share_; }
  /// Whether the step satisfies no share of them, although x violates them by more than the tolerance in total, and
  /// some that it violates do depend on x.
  bool is_stuck(double tolerance) const;
  /// The status if the linearised constraints contradict each other.
  SlsqpStatus infeasible_status() const {
    return singular_ ? SlsqpStatus::kSingularEqualities : SlsqpStatus::kInconsistent;
  }
  bool singular() const { return singular_; }

  /// vector -= Jᵀλ. vector: [padded(n)]
  void subtract_constraint_gradients(double* vector) const;

  /// M. J. D. Powell's damped update of B, from a step and the change of the gradient of the Lagrangian along it, both
  /// [padded(n + 1)]. Overwrites the change. False if the two do not determine an update.
  bool update(const double* step, double* change);
  /// Makes B the identity again.
  void reset();
  /// Forgets the last solve: as new.
  void restart();

  /// Begins with the B of another subproblem of as many variables; if it has as many constraints of each kind, also
  /// with its multipliers and active set. False, and nothing changes, if B is not finite or not positive definite.
  bool warm_start(const SlsqpSubproblem& other);

  /// Calls visit(pointer, bytes) for each piece of the state.
  template <typename Visit>
  void visit_state(Visit&& visit) {
    visit_elements(visit, lambda_);
    visit_value(visit, relaxed_);
    visit_value(visit, singular_);
    visit_value(visit, feasible_share_);
    check_saved(is_bool(relaxed_) && is_bool(singular_), "a flag");
    b_.visit_state(visit);
    qp_.visit_state(visit);
    qp_.check_state(program_);
  }

 private:
  QpStatus solve_within_tolerance();
  QpStatus solve_relaxed();
  void rank_one_update(double sigma, double* z);

  const Problem problem_;
  const DenseKernels& kernels_;
  LdltFactors b_;
  DualActiveSetQp qp_;
  AlignedArray<double> b_step_;
  std::vector<double> lambda_;
  std::vector<double> lower_step_;
  std::vector<double> upper_step_;
  std::vector<double> relaxation_;
  std::vector<double> leeway_;
  std::vector<double> satisfied_;         ///< The constraints; those that x violates as if it satisfied them.
  QuadraticProgram program_;              ///< Over the vectors above.
  mutable std::vector<double> negative_;  ///< -λ
  bool relaxed_ = false;
  bool singular_ = false;  ///< The equalities depended on each other, and so they were relaxed.
  double feasible_share_ = 1;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_SLSQP_SUBPROBLEM_H_
