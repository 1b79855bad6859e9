#include <algorithm>
#include <cmath>
#include <limits>

#include "solvers/bounds.h"
#include "solvers/slsqp/slsqp_state.h"

namespace tfminimize::solvers {
namespace {

constexpr double kMinFactor = 0.1;      // By which a step backtracks (Kraft),
constexpr double kCarefulFactor = 0.5;  // and after too many short searches, see kMaxShortSearches.
constexpr double kPole = 1e-4;
constexpr double kPredicted = 0.9;

// A change of f is more than rounding if it exceeds this many units of the precision of f. A gradient has the wrong
// sign if this many changes in a row are, to a quarter, the opposite of what it says.
constexpr double kNoise = 100;
constexpr int kReversed = 3;
constexpr double kAlike = 0.25;

/// Counts the trials in a row at which a function whose slope is negative changed by the opposite of the slope.
/// GradientCheck does not fit here: it needs the slope at the trial, and at a kink, too, values rise in proportion to
/// the step.
int count_reversed(int count, double change, double slope, double noise) {
  if (std::abs(change) <= noise) return count;
  return slope < 0 && std::abs(change + slope) <= kAlike * -slope ? count + 1 : 0;
}

}  // namespace

/// Kraft's merit function φ = f + Σ μ_i·violation_i, eq. (2.2.8).
double Slsqp::State::merit(double f) const {
  for (std::size_t i = 0; i < m; ++i) f += penalties[i] * problem.violation(i);
  return f;
}

Request Slsqp::State::begin_line_search() {
  std::copy_n(problem.x.data(), n, start.data());
  std::copy_n(problem.constraints.data(), m, start_constraints.data());
  s.trials = 0;
  if (s.met_wall) s.resets = 1;  // A steep B needs many resets on the way.
  s.follows_pole = false;
  s.met_non_finite = false;
  s.reversed_f = 0;
  s.reversed_violation = 0;
  return move();
}

/// x = start + step, within the bounds.
Request Slsqp::State::move() {
  for (std::size_t i = 0; i < n; ++i) problem.x[i] = start[i] + step[i];
  project(problem.x, problem.lower, problem.upper);
  ++s.trials;
  s.phase = Phase::kTrial;
  s.has_derivatives = false;
  return Request::kEvaluate;
}

Request Slsqp::State::after_trial(double f, bool with_derivatives) {
  ++s.nfev;
  evaluate_linear_constraints();
  if (f == -std::numeric_limits<double>::infinity() && values_are_finite(0) && max_violation() <= options.ftol) {
    s.f = f;
    s.has_derivatives = with_derivatives;
    s.violation = max_violation();
    return stop(SlsqpStatus::kUnboundedBelow);
  }
  if (!values_are_finite(f)) return backtrack_from_non_finite(SlsqpStatus::kNonFiniteSearch);
  const double merit_change = merit(f) - s.merit;
  count_reversed_trials(f, merit_change);
  s.fell_as_predicted = merit_change <= kPredicted * s.merit_slope;
  if (merit_change <= s.merit_slope / 10) return request_derivatives(f, with_derivatives);
  if (s.trials < kMaxTrials) return backtrack(s.merit_slope / (2 * (s.merit_slope - merit_change)));
  const bool reversed = std::max(s.reversed_f, s.reversed_violation) >= kReversed;
  if (reversed) return fail_line_search(SlsqpStatus::kGradientMismatch);
  return request_derivatives(f, with_derivatives);
}

void Slsqp::State::count_reversed_trials(double f, double merit_change) {
  const double noise = kNoise * options.precision;
  const double f_change = f - s.f;
  s.reversed_f = count_reversed(s.reversed_f, f_change, s.slope, noise * std::max(s.largest_f, std::abs(f)));
  s.reversed_violation = count_reversed(s.reversed_violation, merit_change - f_change, s.merit_slope - s.slope,
                                        noise * std::max(s.largest_f, std::abs(s.merit)));
}

/// Backtracks from a trial at which something is not finite.
Request Slsqp::State::backtrack_from_non_finite(SlsqpStatus failure) {
  s.met_non_finite = true;
  s.met_wall = true;
  return s.trials < kMaxTrials ? backtrack(0) : fail_line_search(failure);
}

/// Shortens the step by this factor, or by the smallest that is allowed.
Request Slsqp::State::backtrack(double factor) {
  const double min_factor = s.trials == 1 && s.short_searches >= kMaxShortSearches ? kCarefulFactor : kMinFactor;
  s.follows_pole = factor < kPole;
  factor = std::max(factor, min_factor);
  for (std::size_t i = 0; i < n; ++i) step[i] *= factor;
  s.merit_slope *= factor;
  s.slope *= factor;
  return move();
}

/// Goes back from a trial to the start of the line search.
void Slsqp::State::return_to_iterate() {
  std::copy_n(start.data(), n, problem.x.data());
  std::copy_n(start_constraints.data(), m, problem.constraints.data());
  // Before the first trial is evaluated, the derivatives are still those of the start.
  s.has_derivatives = s.phase == Phase::kTrial && s.trials == 1;
}

/// Goes on with the line search at the trial that was not finished.
Request Slsqp::State::return_to_trial() {
  if (s.nit >= options.maxiter) return stop(SlsqpStatus::kMaxIterations, Phase::kInSearch);
  s.status = SlsqpStatus::kRunning;
  ++s.nit;
  --s.trials;
  return move();
}

/// Ends the solve at the start of the line search.
Request Slsqp::State::fail_line_search(SlsqpStatus status) {
  return_to_iterate();
  return stop(status);
}

/// The trial is good enough. The solver accepts it once its derivatives are known to be finite.
Request Slsqp::State::request_derivatives(double f, bool with_derivatives) {
  s.trial_f = f;
  s.has_derivatives = with_derivatives;
  s.changes_little = is_little_change(f);
  // The last x of a solve needs no derivatives, unless it was hard to find a finite point.
  if (has_converged() && !s.met_non_finite) return accept_trial();
  if (with_derivatives) return after_trial_derivatives();
  s.phase = Phase::kTrialDerivatives;
  return Request::kDerivatives;
}

/// Whether the step to x, or the change of f to its value there, is within the tolerance.
bool Slsqp::State::is_little_change(double f) const {
  const double f_tolerance = std::max(options.ftol, rounding(f));
  return (std::abs(f - s.previous_f) < f_tolerance || step_length() < options.ftol) &&
         total_violation() < options.ftol && !subproblem.relaxed();
}

Request Slsqp::State::after_trial_derivatives() {
  s.has_derivatives = true;
  if (!derivatives_are_finite()) return backtrack_from_non_finite(SlsqpStatus::kNonFiniteDerivatives);
  return accept_trial();
}

Request Slsqp::State::accept_trial() {
  s.f = s.trial_f;
  const bool was_short = s.trials == 2 && s.follows_pole && s.fell_as_predicted;
  s.short_searches = was_short ? std::min(s.short_searches + 1, kMaxShortSearches) : 0;
  s.largest_f = std::max(s.largest_f, std::abs(s.f));
  return end_iteration(has_converged() ? SlsqpStatus::kConverged : SlsqpStatus::kRunning, Phase::kIteration);
}

}  // namespace tfminimize::solvers
