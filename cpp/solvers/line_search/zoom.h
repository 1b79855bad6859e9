#ifndef TFMINIMIZE_SOLVERS_LINE_SEARCH_ZOOM_H_
#define TFMINIMIZE_SOLVERS_LINE_SEARCH_ZOOM_H_

#include "solvers/line_search/more_thuente.h"

namespace tfminimize::solvers {

/// The line search of J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd edition, algorithms 3.5 and 3.6: the
/// step doubles until an interval holds a point with both Wolfe conditions, and then it zooms into that interval.
///
/// A value that is not finite counts as infinite, so that the search comes back from it.
///
/// It owns no memory elsewhere: copying it saves its state.
class ZoomLineSearch {
 public:
  enum class Verdict { kTryNext, kConverged, kFailed };

  ZoomLineSearch() = default;
  /// start.t is 0 and start.slope < 0; first_step > 0. c1 and c2 are the constants of the Wolfe conditions.
  ZoomLineSearch(const LinePoint& start, double first_step, double c1, double c2)
      : c1_(c1), c2_(c2), start_(start), low_(start), step_(first_step) {}

  /// The step to evaluate next, or the last one.
  double step() const { return step_; }
  /// Whether advance() needs φ' besides this φ.
  bool needs_slope(double f) const;
  /// Takes φ and φ' at step(); they need not be finite.
  Verdict advance(double f, double slope);

  /// Whether this can be a search at all, if it was copied from bytes of unknown origin.
  bool is_valid() const { return is_bool(zooms_) && trials_ >= 0 && trials_ <= kMaxTrials; }

 private:
  static constexpr int kMaxTrials = 11;  ///< Of either stage.

  Verdict expand(const LinePoint& trial, bool is_low);
  Verdict zoom_into(const LinePoint& low, const LinePoint& high);
  Verdict shrink(const LinePoint& trial, bool is_low);
  double next_in_interval() const;
  bool falls_enough(const LinePoint& p) const { return p.f <= start_.f + c1_ * p.t * start_.slope; }
  bool is_flat(const LinePoint& p) const;

  double c1_ = 0;
  double c2_ = 0;
  LinePoint start_;
  LinePoint low_;      ///< The lowest point with a sufficient decrease; before zooming, the last one tried.
  LinePoint high_;     ///< The other end of the interval.
  LinePoint dropped_;  ///< The end that the last trial replaced.
  double step_ = 0;
  int trials_ = 0;  ///< Of this stage.
  bool zooms_ = false;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LINE_SEARCH_ZOOM_H_
