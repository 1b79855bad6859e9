#ifndef TFMINIMIZE_SOLVERS_GRADIENT_CHECK_H_
#define TFMINIMIZE_SOLVERS_GRADIENT_CHECK_H_

#include <algorithm>
#include <cmath>

namespace tfminimize::solvers {

/// Distinguishes a wrong gradient from rounding, by the trials of one line search on φ(t) = f(x + t·d).
///
/// If the gradient is wrong, f rises although each slope says that it falls, and the rise shrinks in proportion to a
/// short step. Rounding makes f rise too, but as much at a short step as at a long one, and only a little compared with
/// the terms of f.
///
/// It owns no memory elsewhere: copying it saves its state.
class GradientCheck {
 public:
  GradientCheck() = default;
  /// precision: the rounding unit of f. size: the largest |f| so far; terms that cancel in f now may still be as large.
  GradientCheck(double precision, double size) : precision_(precision), size_(size) {}

  /// Takes a trial: its step t, φ(t), φ(t) - φ(0) and φ'(t).
  void add(double step, double f, double rise, double slope) {
    if (!(slope < 0) || !(rise > kRoundings * precision_ * std::max({size_, std::abs(f), -slope * step}))) return;
    if (step <= step_ / kShorter) {
      const double growth = (rise / step) / (rise_ / step_);
      if (growth > 1 / kAlike && growth < kAlike) span_ *= step_ / step;
    }
    step_ = step;
    rise_ = rise;
  }

  /// Whether the rise cannot be rounding, so that the gradient must be wrong.
  bool is_wrong() const { return span_ >= kSurely; }

 private:
  // The roundings of a sum add up: a sum of a few hundred terms is some units off.
  static constexpr double kRoundings = 16;
  // If f rises, the line search shortens the step at least by this factor. A rise from rounding stays, and rise/step
  // grows by the factor, which is more than kAlike allows.
  static constexpr double kShorter = 4;
  static constexpr double kAlike = 2;
  // Two rises from rounding differ by a few times, seldom by ten times, and not in proportion to the step.
  static constexpr double kSurely = 50;

  double precision_ = 0;
  double size_ = 0;
  double step_ = 0;  ///< Of the last trial that rose; 0 before the first.
  double rise_ = 0;
  double span_ = 1;  ///< By how much the step was shortened while the rise was proportional to it.
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_GRADIENT_CHECK_H_
