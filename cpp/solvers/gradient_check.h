#ifndef TFMINIMIZE_SOLVERS_GRADIENT_CHECK_H_
#define TFMINIMIZE_SOLVERS_GRADIENT_CHECK_H_

#include <algorithm>
#include <cmath>

namespace tfminimize::solvers {

/// Tells a wrong gradient from rounding, by the trials of one line search for φ(t) = f(x + t·d).
///
/// Where the gradient is wrong, f rises although each slope says that it falls, and the rise shrinks with the step: for
/// short steps it is proportional to it. Rounding makes f rise too, but as much at a short step as at a long one, and
/// by little, compared with the numbers that f is made of.
///
/// A value of its own, without memory elsewhere: copying it saves its state.
class GradientCheck {
 public:
  GradientCheck() = default;
  /// precision: the rounding unit of f. size: the largest |f| so far, which terms that cancel in f now may still have.
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

  /// Whether the rise is so surely real that the gradient must be wrong.
  bool is_wrong() const { return span_ >= kSurely; }

 private:
  // The roundings of a sum add up; f of a few hundred terms is some units off.
  static constexpr double kRoundings = 16;
  // The line search shortens a step that rises at least so much. A rise by rounding stays, so that rise/step grows by
  // this factor, which is not alike.
  static constexpr double kShorter = 4;
  static constexpr double kAlike = 2;
  // Rises by rounding differ by a few times, seldom by ten, and not in proportion to the step.
  static constexpr double kSurely = 50;

  double precision_ = 0;
  double size_ = 0;
  double step_ = 0;  ///< The last trial that rose; 0 for none.
  double rise_ = 0;
  double span_ = 1;  ///< By how much the step was shortened while the rise was proportional to it.
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_GRADIENT_CHECK_H_
