#include "solvers/line_search/zoom.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tfminimize::solvers {
namespace {

// An interpolated step keeps this part of the interval's length from its ends.
constexpr double kCubicMargin = 0.2;
constexpr double kQuadraticMargin = 0.1;

/// The minimizer of the cubic with the value and slope at `a`, and the values at `b` and `c`; or not finite.
double cubic_minimizer(const LinePoint& a, const LinePoint& b, const LinePoint& c) {
  const double db = b.t - a.t;
  const double dc = c.t - a.t;
  const double rise_b = b.f - a.f - a.slope * db;
  const double rise_c = c.f - a.f - a.slope * dc;
  const double scale = (db * dc) * (db * dc) * (db - dc);
  const double third = (dc * dc * rise_b - db * db * rise_c) / scale;
  const double second = (-(dc * dc * dc) * rise_b + db * db * db * rise_c) / scale;
  return a.t + (-second + std::sqrt(second * second - 3 * third * a.slope)) / (3 * third);
}

/// The minimizer of the quadratic with the value and slope at `a` and the value at `b`; or not finite.
double quadratic_minimizer(const LinePoint& a, const LinePoint& b) {
  const double db = b.t - a.t;
  const double second = (b.f - a.f - a.slope * db) / (db * db);
  return a.t - a.slope / (2 * second);
}

}  // namespace

bool ZoomLineSearch::is_flat(const LinePoint& p) const { return std::abs(p.slope) <= -c2_ * start_.slope; }

bool ZoomLineSearch::needs_slope(double f) const {
  const bool is_compared = zooms_ || trials_ > 0;
  return falls_enough({step_, f, 0}) && !(is_compared && f >= low_.f);
}

ZoomLineSearch::Verdict ZoomLineSearch::advance(double f, double slope) {
  LinePoint trial{step_, f, slope};
  const bool is_finite = std::isfinite(f) && (std::isfinite(slope) || !needs_slope(f));
  if (!is_finite) trial.f = std::numeric_limits<double>::infinity();
  const bool is_low = needs_slope(trial.f);
  ++trials_;
  return zooms_ ? shrink(trial, is_low) : expand(trial, is_low);
}

ZoomLineSearch::Verdict ZoomLineSearch::expand(const LinePoint& trial, bool is_low) {
  if (!is_low) return zoom_into(low_, trial);
  if (is_flat(trial) || trials_ == kMaxTrials) return Verdict::kConverged;  // The last one falls enough at least.
  if (trial.slope >= 0) return zoom_into(trial, low_);
  low_ = trial;
  step_ = 2 * trial.t;
  return std::isfinite(step_) ? Verdict::kTryNext : Verdict::kFailed;
}

ZoomLineSearch::Verdict ZoomLineSearch::zoom_into(const LinePoint& low, const LinePoint& high) {
  const LinePoint other = high;
  low_ = low;
  high_ = other;
  zooms_ = true;
  trials_ = 0;
  step_ = next_in_interval();
  return Verdict::kTryNext;
}

ZoomLineSearch::Verdict ZoomLineSearch::shrink(const LinePoint& trial, bool is_low) {
  if (!is_low) {
    dropped_ = high_;
    high_ = trial;
  } else {
    if (is_flat(trial)) return Verdict::kConverged;
    const bool turns = trial.slope * (high_.t - low_.t) >= 0;
    dropped_ = turns ? high_ : low_;
    if (turns) high_ = low_;
    low_ = trial;
  }
  if (trials_ == kMaxTrials) return Verdict::kFailed;
  step_ = next_in_interval();
  return Verdict::kTryNext;
}

double ZoomLineSearch::next_in_interval() const {
  const double length = high_.t - low_.t;
  const double left = std::min(low_.t, high_.t);
  const double right = std::max(low_.t, high_.t);
  // SciPy takes the length with its sign, and so do the margins.
  const auto keeps_margin = [&](double t, double margin) {
    return std::isfinite(t) && t <= right - margin * length && t >= left + margin * length;
  };
  if (trials_ > 0) {
    const double cubic = cubic_minimizer(low_, high_, dropped_);
    if (keeps_margin(cubic, kCubicMargin)) return cubic;
  }
  const double quadratic = quadratic_minimizer(low_, high_);
  return keeps_margin(quadratic, kQuadraticMargin) ? quadratic : low_.t + 0.5 * length;
}

}  // namespace tfminimize::solvers
