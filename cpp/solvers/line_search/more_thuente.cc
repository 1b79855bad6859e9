#include "solvers/line_search/more_thuente.h"

#include <algorithm>
#include <cmath>

namespace tfminimize::solvers {
namespace {

// If two updates do not shrink the interval to this part of its length, it is bisected.
constexpr double kShrinkage = 0.66;
constexpr double kBacktrack = 0.25;

/// The cubic that interpolates φ and φ' at two points, as its minimizer needs it. gamma is the root of the
/// discriminant, scaled so that nothing overflows.
struct Cubic {
  double theta;
  double gamma;
};

Cubic interpolate(const LinePoint& a, const LinePoint& b, bool clamp_discriminant) {
  const double theta = 3 * (a.f - b.f) / (b.t - a.t) + a.slope + b.slope;
  const double scale = std::max({std::abs(theta), std::abs(a.slope), std::abs(b.slope)});
  const double ratio = theta / scale;
  double discriminant = ratio * ratio - (a.slope / scale) * (b.slope / scale);
  if (clamp_discriminant) discriminant = std::max(0.0, discriminant);
  return {theta, scale * std::sqrt(discriminant)};
}

/// The minimizer of the cubic through both points.
double cubic_minimizer(const LinePoint& from, const LinePoint& to) {
  Cubic cubic = interpolate(from, to, false);
  if (to.t < from.t) cubic.gamma = -cubic.gamma;
  const double p = (cubic.gamma - from.slope) + cubic.theta;
  const double q = ((cubic.gamma - from.slope) + cubic.gamma) + to.slope;
  return from.t + p / q * (to.t - from.t);
}

/// The minimizer of the quadratic with both slopes.
double secant_minimizer(const LinePoint& from, const LinePoint& to) {
  return from.t + from.slope / (from.slope - to.slope) * (to.t - from.t);
}

/// The minimizer of the quadratic with both values and the slope at `from`.
double quadratic_minimizer(const LinePoint& from, const LinePoint& to) {
  return from.t + from.slope / ((from.f - to.f) / (to.t - from.t) + from.slope) / 2 * (to.t - from.t);
}

}  // namespace

bool MoreThuenteLineSearch::interval_is_exhausted() const {
  return bracketed_ && (step_ <= min_step_ || step_ >= max_step_ || max_step_ - min_step_ <= params_.xtol * max_step_);
}

MoreThuenteLineSearch::Verdict MoreThuenteLineSearch::advance(double f, double slope) {
  const double sufficient_slope = params_.ftol * start_.slope;
  const double sufficient_f = start_.f + step_ * sufficient_slope;
  if (first_stage_ && f <= sufficient_f && slope >= 0) first_stage_ = false;

  if (f <= sufficient_f && std::abs(slope) <= params_.gtol * -start_.slope) return Verdict::kConverged;
  if (interval_is_exhausted()) return Verdict::kNoProgress;
  if (step_ == params_.max_step && f <= sufficient_f && slope <= sufficient_slope) return Verdict::kNoProgress;
  if (step_ == 0) return Verdict::kNoProgress;

  const LinePoint trial{step_, f, slope};
  if (first_stage_ && f <= best_.f && f > sufficient_f) {
    // ψ(t) = φ(t) - φ(0) - ftol·t·φ'(0), eq. (2.1), without the constant φ(0).
    const auto to_psi = [&](const LinePoint& p) {
      return LinePoint{p.t, p.f - p.t * sufficient_slope, p.slope - sufficient_slope};
    };
    const auto to_phi = [&](const LinePoint& p) {
      return LinePoint{p.t, p.f + p.t * sufficient_slope, p.slope + sufficient_slope};
    };
    LinePoint best = to_psi(best_);
    LinePoint other = to_psi(other_);
    step_ = next_step(best, other, to_psi(trial));
    best_ = to_phi(best);
    other_ = to_phi(other);
  } else {
    step_ = next_step(best_, other_, trial);
  }

  if (bracketed_) {
    if (std::abs(other_.t - best_.t) >= kShrinkage * previous_width_) step_ = best_.t + (other_.t - best_.t) / 2;
    previous_width_ = width_;
    width_ = std::abs(other_.t - best_.t);
    min_step_ = std::min(best_.t, other_.t);
    max_step_ = std::max(best_.t, other_.t);
  } else {
    min_step_ = step_ + kMinExtrapolation * (step_ - best_.t);
    max_step_ = step_ + kMaxExtrapolation * (step_ - best_.t);
  }
  if (!std::isfinite(step_)) step_ = best_.t + (trial.t - best_.t) / 2;  // Values near the largest double overflowed.
  step_ = std::min(std::max(step_, 0.0), params_.max_step);
  if (interval_is_exhausted()) step_ = best_.t;
  return Verdict::kTryNext;
}

void MoreThuenteLineSearch::backtrack() {
  step_ = best_.t + kBacktrack * (step_ - best_.t);
  if (step_ > best_.t) params_.max_step = std::min(params_.max_step, step_);
}

double MoreThuenteLineSearch::next_step(LinePoint& best, LinePoint& other, const LinePoint& trial) {
  const bool slopes_differ = trial.slope * (best.slope / std::abs(best.slope)) < 0;
  double step = 0;
  if (trial.f > best.f) {
    // Case 1: a higher value brackets a minimizer.
    const double cubic = cubic_minimizer(best, trial);
    const double quadratic = quadratic_minimizer(best, trial);
    const bool cubic_is_closer = std::abs(cubic - best.t) < std::abs(quadratic - best.t);
    step = cubic_is_closer ? cubic : cubic + (quadratic - cubic) / 2;
    bracketed_ = true;
  } else if (slopes_differ) {
    // Case 2: a lower value and a slope of the other sign.
    const double cubic = cubic_minimizer(trial, best);
    const double secant = secant_minimizer(trial, best);
    step = std::abs(cubic - trial.t) > std::abs(secant - trial.t) ? cubic : secant;
    bracketed_ = true;
  } else if (std::abs(trial.slope) < std::abs(best.slope)) {
    // Case 3: a lower value, the same sign, a smaller slope. The cubic counts only if its minimizer is beyond
    // the trial.
    Cubic fit = interpolate(best, trial, true);
    if (trial.t > best.t) fit.gamma = -fit.gamma;
    const double p = (fit.gamma - trial.slope) + fit.theta;
    const double q = (fit.gamma + (best.slope - trial.slope)) + fit.gamma;
    const double r = p / q;
    const double limit = trial.t > best.t ? max_step_ : min_step_;
    const double cubic = r < 0 && fit.gamma != 0 ? trial.t + r * (best.t - trial.t) : limit;
    const double secant = secant_minimizer(trial, best);
    const bool cubic_is_closer = std::abs(cubic - trial.t) < std::abs(secant - trial.t);
    if (bracketed_) {
      step = cubic_is_closer ? cubic : secant;
      const double farthest = trial.t + kShrinkage * (other.t - trial.t);
      step = trial.t > best.t ? std::min(farthest, step) : std::max(farthest, step);
    } else {
      const bool cubic_is_farther = std::abs(cubic - trial.t) > std::abs(secant - trial.t);
      step = std::max(std::min(cubic_is_farther ? cubic : secant, max_step_), min_step_);
    }
  } else if (bracketed_) {
    // Case 4: a lower value, the same sign, a slope that is not smaller.
    step = cubic_minimizer(trial, other);
  } else {
    step = trial.t > best.t ? max_step_ : min_step_;
  }

  if (trial.f > best.f) {
    other = trial;
  } else {
    if (slopes_differ) other = best;
    best = trial;
  }
  return step;
}

}  // namespace tfminimize::solvers
