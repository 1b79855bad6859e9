#ifndef TFMINIMIZE_SOLVERS_SLSQP_SLSQP_SUBPROBLEM_H_
#define TFMINIMIZE_SOLVERS_SLSQP_SLSQP_SUBPROBLEM_H_

#include <cstddef>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/slsqp/dual_active_set_qp.h"
#include "solvers/slsqp/ldlt_factors.h"
#include "solvers/slsqp/slsqp.h"

namespace tfminimize::solvers {

/// The quadratic model of a constrained problem at x, and its minimum: the search direction of Slsqp.
///
///     minimize ½·sᵀBs + gᵀs   subject to the linearised constraints and lower <= x + s <= upper
///
/// B begins as the identity and approximates the Hessian of the Lagrangian. Where the linearised constraints contradict
/// each other, one more variable δ takes them back as far as is needed (Kraft 1988, section 2.2.3).
class SlsqpSubproblem {
 public:
  explicit SlsqpSubproblem(const SlsqpProblem& problem);

  /// Solves it at the present x: step, [padded(n + 1)]. kRunning if it could be solved, else why not. Constraints that
  /// contradict each other by less than options.ftol altogether are no obstacle: they give way by that much.
  SlsqpStatus solve(double* step, const SlsqpOptions& options = {});

  /// [m] Lagrange multipliers of the constraints at the last solution.
  const std::vector<double>& multipliers() const { return lambda_; }
  /// Whether the constraints had to be relaxed.
  bool relaxed() const { return relaxed_; }
  /// [m] What was added to the constraints where they gave way.
  const std::vector<double>& leeway() const { return leeway_; }
  /// How much of the linearised constraints the step meets: 1 - δ.
  double progress() const { return progress_; }
  /// Whether the step meets nothing of them, although they are violated by more than the tolerance altogether and not
  /// only those that do not depend on x here.
  bool is_stuck(double tolerance) const;
  /// The status where the linearised constraints contradict each other.
  SlsqpStatus contradiction() const {
    return singular_ ? SlsqpStatus::kSingularEqualities : SlsqpStatus::kInconsistent;
  }
  bool singular() const { return singular_; }

  /// vector -= Jᵀλ. vector: [padded(n)]
  void subtract_constraint_gradients(double* vector) const;

  /// M. J. D. Powell's damped update of B, from a step and the change of the gradient of the Lagrangian along it, both
  /// [padded(n + 1)]; change is destroyed. False if they say nothing of B.
  bool update(const double* step, double* change);
  /// B is the identity again.
  void reset();
  /// Forgets all that it knows of a solve: as new.
  void restart();

  /// Calls visit(pointer, bytes) for each piece of the state.
  template <typename Visit>
  void visit(Visit&& visit) {
    visit(lambda_.data(), lambda_.size() * sizeof(double));
    visit(&relaxed_, sizeof relaxed_);
    visit(&singular_, sizeof singular_);
    visit(&progress_, sizeof progress_);
    check_saved(is_bool(relaxed_) && is_bool(singular_), "a flag");
    b_.visit(visit);
    qp_.visit(visit);
    qp_.check_state(program_);
  }

 private:
  QpStatus stay();
  QpStatus relax();
  void change_model(double sigma, double* z);

  const SlsqpProblem problem_;
  const DenseKernels& kernels_;
  LdltFactors b_;
  DualActiveSetQp qp_;
  AlignedArray<double> b_step_;
  std::vector<double> lambda_;
  std::vector<double> lower_step_;
  std::vector<double> upper_step_;
  std::vector<double> relaxation_;
  std::vector<double> leeway_;
  std::vector<double> met_;               ///< The constraints, those that are violated as if they held.
  QuadraticProgram program_;              ///< Of these.
  mutable std::vector<double> negative_;  ///< -λ
  bool relaxed_ = false;
  bool singular_ = false;  ///< Relaxed, as the equalities depended on each other.
  double progress_ = 1;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_SLSQP_SUBPROBLEM_H_
