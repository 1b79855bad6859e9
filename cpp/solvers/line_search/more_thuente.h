#ifndef TFMINIMIZE_SOLVERS_LINE_SEARCH_MORE_THUENTE_H_
#define TFMINIMIZE_SOLVERS_LINE_SEARCH_MORE_THUENTE_H_

#include "solvers/snapshot.h"

namespace tfminimize::solvers {

/// A step t along a search direction, with φ(t) = f(x + t·d) and its slope φ'(t) = dᵀ∇f(x + t·d).
struct LinePoint {
  double t = 0;
  double f = 0;
  double slope = 0;
};

/// The line search of J. J. Moré and D. J. Thuente, "Line search algorithms with guaranteed sufficient decrease",
/// ACM Trans. Math. Softw. 20 (1994), 286-307, for a step with
///
///     φ(t) <= φ(0) + ftol·t·φ'(0)   and   |φ'(t)| <= gtol·|φ'(0)|.
///
/// A value of its own, without memory elsewhere: copying it saves its state.
class MoreThuenteLineSearch {
 public:
  /// L-BFGS-B's constants.
  struct Params {
    double ftol = 1e-3;  ///< Sufficient decrease.
    double gtol = 0.9;   ///< Curvature.
    double xtol = 0.1;   ///< Relative width at which an interval of uncertainty is given up.
    double largest_step = 1e10;
  };

  enum class Verdict {
    kTryNext,     ///< Evaluate at step().
    kConverged,   ///< The last point satisfies both conditions.
    kNoProgress,  ///< The last point is the best to be had: rounding, xtol, or the largest step.
  };

  MoreThuenteLineSearch() = default;
  /// start.t is 0 and start.slope < 0; first_step > 0 is the first step to try.
  MoreThuenteLineSearch(const LinePoint& start, double first_step, const Params& params);

  /// The step to evaluate next, or the last one.
  double step() const { return step_; }
  /// Takes what was found at step().
  Verdict advance(double f, double slope);
  /// Takes that f or its gradient at step() was not finite: the next step is a quarter of the way there, and no
  /// later one is longer.
  void retreat();

  /// Whether this, copied from bytes of unknown origin, is a search at all.
  bool is_valid() const { return is_bool(bracketed_) && is_bool(first_stage_); }

 private:
  /// Moves the interval of uncertainty and returns the next trial step (section 4 of the paper).
  double next_step(LinePoint& best, LinePoint& other, const LinePoint& trial);
  bool interval_is_used_up() const;

  Params params_;
  LinePoint start_;
  LinePoint best_;   ///< The end of the interval with the least value so far.
  LinePoint other_;  ///< Its other end.
  double step_ = 0;
  double smallest_ = 0;  ///< Bounds of the next trial step.
  double largest_ = 0;
  double width_ = 0;  ///< Of the interval, one and two updates ago.
  double previous_width_ = 0;
  bool bracketed_ = false;   ///< The interval contains a minimizer.
  bool first_stage_ = true;  ///< The auxiliary function ψ is still in use.
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LINE_SEARCH_MORE_THUENTE_H_
