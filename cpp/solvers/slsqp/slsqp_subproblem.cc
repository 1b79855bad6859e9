#include "solvers/slsqp/slsqp_subproblem.h"

#include <algorithm>
#include <cmath>

namespace tfminimize::solvers {
namespace {

constexpr double kFirstPenalty = 100;  // ρ of the relaxed subproblem. Each further attempt takes ten times more,
constexpr int kMaxAttempts = 6;        // up to this many.
constexpr double kMinShare = 1e-10;    // If δ leaves less than this of the constraints, x is stuck.
constexpr double kDamping = 0.2;       // Powell's, of the update.

}  // namespace

SlsqpSubproblem::SlsqpSubproblem(const Problem& problem)
    : problem_(problem),
      kernels_(dense_kernels()),
      b_(problem.x.size()),
      qp_(problem.x.size(), problem.constraints.size()),
      b_step_(zeros(padded(problem.x.size() + 1))),
      lambda_(problem.constraints.size()),
      lower_step_(problem.lower.size()),
      upper_step_(problem.upper.size()),
      relaxation_(problem.constraints.size()),
      leeway_(problem.constraints.size()),
      satisfied_(problem.constraints.size()),
      negative_(problem.constraints.size()) {
  program_.gradient = problem_.gradient;
  program_.constraints = problem_.constraints;
  program_.jacobian = problem_.jacobian;
  program_.num_equalities = problem_.num_equalities;
  // If there are as many equalities as variables, the step is Newton's for them, as in Kraft's program.
  program_.num_variables = problem_.num_variables == 0 ? problem_.x.size() : problem_.num_variables;
  program_.lower = lower_step_;
  program_.upper = upper_step_;
}

SlsqpStatus SlsqpSubproblem::solve(double* step, const SlsqpOptions& options) {
  if (problem_.num_equalities > program_.num_variables) return SlsqpStatus::kTooManyEqualities;
  for (std::size_t i = 0; i < lower_step_.size(); ++i) lower_step_[i] = problem_.lower[i] - problem_.x[i];
  for (std::size_t i = 0; i < upper_step_.size(); ++i) upper_step_[i] = problem_.upper[i] - problem_.x[i];
  program_.precision = options.precision;
  program_.tolerance = options.ftol;
  QpStatus status = qp_.solve(b_, program_);
  std::copy_n(qp_.leeway().data(), leeway_.size(), leeway_.data());
  singular_ = status == QpStatus::kSingularEqualities;
  if (contradicts(status) && problem_.total_violation() < options.ftol) status = solve_within_tolerance();
  relaxed_ = contradicts(status);
  if (relaxed_) status = solve_relaxed();
  if (status == QpStatus::kPivotLimit) return SlsqpStatus::kSubproblemLimit;
  if (status != QpStatus::kSolved) return infeasible_status();
  feasible_share_ = relaxed_ ? 1 - qp_.relaxation() : 1;
  if (feasible_share_ < kMinShare) feasible_share_ = 0;
  std::copy_n(qp_.solution().data(), problem_.x.size(), step);
  std::copy_n(qp_.multipliers().data(), lambda_.size(), lambda_.data());
  return SlsqpStatus::kRunning;
}

/// Asks only that the step violates the constraints no more than x does, which is within the tolerance.
QpStatus SlsqpSubproblem::solve_within_tolerance() {
  for (std::size_t i = 0; i < satisfied_.size(); ++i) {
    const double c = problem_.constraints[i];
    satisfied_[i] = i < problem_.num_equalities ? 0 : std::max(c, 0.0);
    leeway_[i] = satisfied_[i] - c;
  }
  QuadraticProgram program = program_;
  program.constraints = satisfied_;
  const QpStatus status = qp_.solve(b_, program);
  if (status == QpStatus::kSolved) singular_ = false;
  return status;
}

/// One more variable δ in [0, 1] relaxes the constraints, at the cost ½·ρ²·δ².
QpStatus SlsqpSubproblem::solve_relaxed() {
  for (std::size_t i = 0; i < relaxation_.size(); ++i) {
    const double c = problem_.constraints[i];
    relaxation_[i] = i < problem_.num_equalities ? -c : std::max(-c, 0.0);
  }
  QuadraticProgram program = program_;
  program.relaxation = relaxation_;
  program.num_variables = 0;
  QpStatus status = QpStatus::kInfeasible;
  double penalty = kFirstPenalty;
  for (int attempt = 0; attempt < kMaxAttempts && status == QpStatus::kInfeasible; ++attempt) {
    b_.extend(penalty * penalty);
    status = qp_.solve(b_, program);
    b_.shrink();
    penalty *= 10;
  }
  std::copy_n(qp_.leeway().data(), leeway_.size(), leeway_.data());
  return status;
}

bool SlsqpSubproblem::is_stuck(double tolerance) const {
  if (feasible_share_ > 0 || !(problem_.total_violation() > tolerance)) return false;
  const double share = tolerance / static_cast<double>(lambda_.size());
  // Constraints that do not depend on x cannot contradict each other.
  for (std::size_t i = 0; i < lambda_.size(); ++i) {
    const double* row = problem_.jacobian.data() + i * padded(problem_.x.size());
    if (problem_.violation(i) > share && kernels_.dot(padded(problem_.x.size()), row, row) > 0) return true;
  }
  return false;
}

void SlsqpSubproblem::subtract_constraint_gradients(double* vector) const {
  for (std::size_t i = 0; i < lambda_.size(); ++i) negative_[i] = -lambda_[i];
  const std::size_t stride = padded(problem_.x.size());
  kernels_.multiply_transposed(lambda_.size(), stride, problem_.jacobian.data(), stride, negative_.data(), vector);
}

bool SlsqpSubproblem::update(const double* step, double* change) {
  const std::size_t stride = b_.stride();
  b_.multiply(step, b_step_.data());
  double curvature = kernels_.dot(stride, step, change);
  const double b_curvature = kernels_.dot(stride, step, b_step_.data());
  const double least = kDamping * b_curvature;
  if (curvature < least) {
    const double theta = (b_curvature - least) / (b_curvature - curvature);
    for (std::size_t i = 0; i < stride; ++i) change[i] = theta * change[i] + (1 - theta) * b_step_[i];
    curvature = least;
  }
  if (curvature == 0 || b_curvature == 0) return false;
  rank_one_update(1 / curvature, change);
  rank_one_update(-1 / b_curvature, b_step_.data());
  return true;
}

/// B += sigma·z·zᵀ. Overwrites z.
void SlsqpSubproblem::rank_one_update(double sigma, double* z) {
  qp_.prepare_update(b_, program_, sigma, z);
  b_.update(sigma, z);
}

void SlsqpSubproblem::reset() {
  b_.set_identity();
  qp_.forget();
}

bool SlsqpSubproblem::warm_start(const SlsqpSubproblem& other) {
  if (!b_.take(other.b_)) return false;
  const bool is_alike =
      lambda_.size() == other.lambda_.size() && problem_.num_equalities == other.problem_.num_equalities;
  if (!is_alike) return true;
  lambda_ = other.lambda_;
  qp_.take(other.qp_);
  return true;
}

void SlsqpSubproblem::restart() {
  b_.set_identity();
  qp_.restart();
  std::fill(lambda_.begin(), lambda_.end(), 0.0);
  relaxed_ = false;
  singular_ = false;
  feasible_share_ = 1;
}

}  // namespace tfminimize::solvers
