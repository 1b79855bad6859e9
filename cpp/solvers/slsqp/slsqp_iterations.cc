#include <algorithm>
#include <cmath>
#include <limits>

#include "solvers/bounds.h"
#include "solvers/slsqp/slsqp_state.h"

namespace tfminimize::solvers {

Slsqp::State::State(const Problem& problem_, const SlsqpOptions& options_)
    : problem(problem_),
      n(problem_.x.size()),
      m(problem_.constraints.size()),
      stride(padded(n + 1)),
      kernels(dense_kernels()),
      subproblem(problem_),
      x(zeros(stride)),
      start(zeros(stride)),
      start_constraints(zeros(m)),
      step(zeros(stride)),
      lagrangian_gradient(zeros(stride)),
      gradient_change(zeros(stride)),
      penalties(m) {
  begin(options_);
}

/// Begins a solve. The subproblem is new or restarted.
void Slsqp::State::begin(const SlsqpOptions& options_) {
  s = Scalars();
  set_options(options_);
  std::fill(penalties.begin(), penalties.end(), 0.0);
  project(problem.x, problem.lower, problem.upper);
}

void Slsqp::State::set_options(const SlsqpOptions& options_) {
  options = options_;
  options.ftol = std::abs(options.ftol);
}

/// Takes the test again that has ended the solve, or is about to, with the present options.
void Slsqp::State::resume() {
  switch (s.phase) {
    case Phase::kIteration:
      s.changes_little = is_little_change(s.f);
      s.status = has_converged() ? SlsqpStatus::kConverged : SlsqpStatus::kRunning;
      s.request = Request::kIteration;
      if (s.status == SlsqpStatus::kConverged || s.has_derivatives) break;
      s.phase = Phase::kIterationDerivatives;
      s.request = Request::kDerivatives;
      break;
    case Phase::kStationary:
      s.status = SlsqpStatus::kConverged;
      s.request = Request::kIteration;
      if (is_stationary()) break;
      --s.nit;
      s.status = SlsqpStatus::kRunning;
      s.request = iterate();
      break;
    case Phase::kLimit:
      s.status = SlsqpStatus::kRunning;
      s.request = iterate();
      break;
    case Phase::kInterrupted:
      s.status = SlsqpStatus::kRunning;
      s.phase = Phase::kStartDerivatives;
      s.request = s.has_derivatives ? iterate() : Request::kDerivatives;
      break;
    case Phase::kInSearch:
      s.request = return_to_trial();
      break;
    case Phase::kNoDescent:
      s.request = stop_without_descent();
      break;
    default:
      break;
  }
}

/// The penalties begin at the size of the multipliers.
bool Slsqp::State::warm_start(const State& other) {
  if (!subproblem.warm_start(other.subproblem)) return false;
  for (std::size_t i = 0; i < m; ++i) penalties[i] = std::abs(subproblem.multipliers()[i]);
  return true;
}

double Slsqp::State::max_violation() const {
  double largest = 0;
  for (std::size_t i = 0; i < m; ++i) {
    const double violation = problem.violation(i);
    if (std::isnan(violation)) return violation;
    largest = std::max(largest, violation);
  }
  return largest;
}

/// The max norm of the projected gradient of the Lagrangian at x.
double Slsqp::State::lagrangian_gradient_norm() {
  double* g = gradient_change.data();  // free between two updates of B
  std::copy_n(problem.gradient.data(), n, g);
  subproblem.subtract_constraint_gradients(g);
  return projected_gradient_norm(problem.x, {g, n}, problem.lower, problem.upper);
}

bool Slsqp::State::derivatives_are_finite() const {
  if (!all_finite(problem.gradient)) return false;
  for (std::size_t i = 0; i < m; ++i) {
    if (!all_finite({problem.jacobian.data() + i * padded(n), n})) return false;
  }
  return true;
}

/// Computes the linear constraints at x.
void Slsqp::State::evaluate_linear_constraints() {
  if (problem.offsets.empty()) return;
  std::copy_n(problem.x.data(), n, x.data());
  for (std::size_t i = 0; i < m; ++i) {
    if (!is_linear(i)) continue;
    const double product = kernels.dot(padded(n), problem.jacobian.data() + i * padded(n), x.data());
    problem.constraints[i] = product + problem.offsets[i];
  }
}

/// Goes back to the last complete iteration, or to the start, and returns the phase of a solve that ends there.
Slsqp::State::Phase Slsqp::State::interrupt() {
  switch (s.phase) {
    case Phase::kStart:
      s.f = s.violation = std::numeric_limits<double>::quiet_NaN();
      return Phase::kEnd;
    case Phase::kTrial:
    case Phase::kTrialDerivatives:
      return_to_iterate();
      --s.nit;
      return Phase::kInSearch;
    case Phase::kStartDerivatives:
      return Phase::kInterrupted;
    case Phase::kIterationDerivatives:
      return Phase::kIteration;
    default:
      return s.phase;
  }
}

Request Slsqp::State::stop(SlsqpStatus status, Phase phase) {
  s.status = status;
  s.phase = phase;
  return Request::kStopped;
}

/// Reports an iteration. The solve then goes on, or ends with `status`.
Request Slsqp::State::end_iteration(SlsqpStatus status, Phase phase) {
  s.violation = max_violation();
  s.status = status;
  s.phase = phase;
  return Request::kIteration;
}

Request Slsqp::State::after_start(double f, bool with_derivatives) {
  ++s.nfev;
  evaluate_linear_constraints();
  s.f = f;
  s.largest_f = std::abs(f);
  s.violation = max_violation();
  s.has_derivatives = with_derivatives;
  if (!values_are_finite(f)) return stop(SlsqpStatus::kNonFiniteStart);
  if (with_derivatives) return after_start_derivatives();
  s.phase = Phase::kStartDerivatives;
  return Request::kDerivatives;
}

Request Slsqp::State::after_start_derivatives() {
  ++s.njev;
  s.has_derivatives = true;
  return derivatives_are_finite() ? iterate() : stop(SlsqpStatus::kNonFiniteStart);
}

Request Slsqp::State::after_iteration() {
  if (s.status != SlsqpStatus::kRunning) return stop(s.status, s.phase);
  ++s.njev;
  if (s.changes_little && s.is_model_doubtful) {
    renew_model();
    return iterate();
  }
  return update_model() ? iterate() : stop_without_descent();
}

Request Slsqp::State::after_iteration_derivatives() {
  s.has_derivatives = true;
  if (!derivatives_are_finite()) return stop(SlsqpStatus::kNonFiniteDerivatives);
  s.phase = Phase::kIteration;
  return after_iteration();
}

/// Goes from the derivatives at x to the first trial of a line search, or to the end. A doubtful B cannot end the
/// solve: a new B must confirm it.
Request Slsqp::State::iterate() {
  while (true) {
    if (s.nit >= options.maxiter) return stop(SlsqpStatus::kMaxIterations, Phase::kLimit);
    ++s.nit;
    const SlsqpStatus found = find_step();
    if (found == SlsqpStatus::kRunning) return begin_line_search();
    if (s.is_model_doubtful) {
      renew_model();
    } else if (found == SlsqpStatus::kConverged) {
      return end_iteration(found, Phase::kStationary);
    } else if (found != SlsqpStatus::kNoDescent) {
      return stop(found);
    } else if (!reset_model()) {
      return stop_without_descent();
    }
  }
}

/// Returns kRunning if the solution of the subproblem is a step that descends, or else the status that says why not.
SlsqpStatus Slsqp::State::find_step() {
  const SlsqpStatus solved = subproblem.solve(step.data(), options);
  if (solved != SlsqpStatus::kRunning) return solved;
  std::copy_n(problem.gradient.data(), n, lagrangian_gradient.data());
  subproblem.subtract_constraint_gradients(lagrangian_gradient.data());
  const StepModel model = update_penalties();
  s.stationarity = std::abs(model.slope) + model.complementarity;
  if (is_stationary()) return SlsqpStatus::kConverged;
  const bool is_level = std::abs(model.slope) < options.ftol;
  if (is_level && subproblem.is_stuck(options.ftol)) return subproblem.infeasible_status();
  s.previous_f = s.f;
  s.merit = s.f + model.penalty;
  s.slope = model.slope;
  s.merit_slope = model.slope - subproblem.feasible_share() * model.reducible;
  const bool stays = subproblem.feasible_share() == 0 && is_level;
  return s.merit_slope < 0 && !stays ? SlsqpStatus::kRunning : SlsqpStatus::kNoDescent;
}

/// Raises the penalties above the new multipliers, and sums up what the step does.
Slsqp::State::StepModel Slsqp::State::update_penalties() {
  StepModel model;
  for (std::size_t i = 0; i < n; ++i) model.slope += problem.gradient[i] * step[i];
  for (std::size_t i = 0; i < m; ++i) {
    const double multiplier = std::abs(subproblem.multipliers()[i]);
    const double leeway = subproblem.leeway()[i];
    model.complementarity += multiplier * std::abs(problem.constraints[i] + leeway);
    penalties[i] = std::max(multiplier, (penalties[i] + multiplier) / 2);
    const double violation = problem.violation(i);
    model.penalty += penalties[i] * violation;
    model.reducible += penalties[i] * (violation - std::min(violation, std::abs(leeway)));
  }
  return model;
}

/// Whether x satisfies the conditions of Karush, Kuhn and Tucker.
bool Slsqp::State::is_stationary() const {
  return s.stationarity < options.ftol && total_violation() < options.ftol && !subproblem.relaxed();
}

/// Begins anew at x: B, and the penalties that grew with it.
void Slsqp::State::renew_model() {
  subproblem.reset();
  std::fill(penalties.begin(), penalties.end(), 0.0);
  s.is_model_doubtful = false;
}

/// False if B has been reset too often.
bool Slsqp::State::reset_model() {
  subproblem.reset();
  s.is_model_doubtful = false;
  return ++s.resets <= kMaxResets;
}

/// Updates B with the change of the gradient of the Lagrangian along the step. False if B must be reset, but has been
/// too often.
bool Slsqp::State::update_model() {
  s.is_model_doubtful = s.met_wall;
  std::copy_n(problem.gradient.data(), n, gradient_change.data());
  subproblem.subtract_constraint_gradients(gradient_change.data());
  kernels.add(stride, -1, lagrangian_gradient.data(), gradient_change.data());
  return subproblem.update(step.data(), gradient_change.data()) || reset_model();
}

/// Ends the solve because no direction descends: converged by a looser test, or failed.
Request Slsqp::State::stop_without_descent() {
  const double tolerance = 10 * options.ftol;
  const bool converged = (std::abs(s.f - s.previous_f) < tolerance || step_length() < tolerance) && !s.met_wall &&
                         total_violation() < tolerance && max_violation() <= options.ftol && !subproblem.relaxed();
  if (converged) return stop(SlsqpStatus::kConverged, Phase::kNoDescent);
  const bool singular = subproblem.singular();
  return stop(singular ? subproblem.infeasible_status() : SlsqpStatus::kNoDescent, Phase::kNoDescent);
}

}  // namespace tfminimize::solvers
