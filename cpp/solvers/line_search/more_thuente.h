#ifndef TFMINIMIZE_SOLVERS_LINE_SEARCH_MORE_THUENTE_H_
#define TFMINIMIZE_SOLVERS_LINE_SEARCH_MORE_THUENTE_H_

#include "solvers/snapshot.h"

namespace tfminimize::solvers {

/// A step t along a search direction d, with φ(t) = f(x + t·d) and its slope φ'(t) = dᵀ∇f(x + t·d).
struct LinePoint {
  double t = 0;
  double f = 0;
  double slope = 0;
};

/// The line search of J. J. Moré and D. J. Thuente, "Line search algorithms with guaranteed sufficient decrease",
/// ACM Trans. Math. Softw. 20 (1994), 286-307. It looks for a step with
///
///     φ(t) <= φ(0) + ftol·t·φ'(0)   and   |φ'(t)| <= gtol·|φ'(0)|.
///
/// It owns no memory elsewhere: copying it saves its state.
class MoreThuenteLineSearch {
 public:
  /// The defaults are L-BFGS-B's constants.
  struct Params {
    double ftol = 1e-3;      ///< Sufficient decrease.
    double gtol = 0.9;       ///< Curvature.
    double xtol = 0.1;       ///< The search ends when the interval of uncertainty is relatively this narrow.
    double max_step = 1e10;  ///< No trial goes farther.
  };

  enum class Verdict {
    kTryNext,     ///< Evaluate at step().
    kConverged,   ///< The last point satisfies both conditions.
    kNoProgress,  ///< The search cannot improve the last point: rounding, xtol or max_step ends it.
  };

  MoreThuenteLineSearch() = default;
  /// start.t is 0 and start.slope < 0; first_step > 0 is the first step to try.
  MoreThuenteLineSearch(const LinePoint& start, double first_step, const Params& params)
      : params_(params),
        start_(start),
        best_(start),
        other_(start),
        step_(first_step),
        max_step_(first_step + kMaxExtrapolation * first_step),
        width_(params.max_step),
        previous_width_(2 * params.max_step) {}

  const LinePoint& start() const { return start_; }
  /// The step to evaluate next, or the last one.
  double step() const { return step_; }
  /// Takes φ and φ' at step().
  Verdict advance(double f, double slope);
  /// Call this instead of advance() if φ or φ' at step() is not finite: the next step goes a quarter of the way from
  /// the best point, and no later step is longer.
  void backtrack();

  /// Whether this can be a search at all, if it was copied from bytes of unknown origin.
  bool is_valid() const { return is_bool(bracketed_) && is_bool(first_stage_); }

 private:
  // An extrapolation goes beyond the last step by this multiple of that step's distance from the best one.
  static constexpr double kMinExtrapolation = 1.1;
  static constexpr double kMaxExtrapolation = 4.0;

  /// Updates the interval of uncertainty and returns the next trial step (section 4 of the paper).
  double next_step(LinePoint& best, LinePoint& other, const LinePoint& trial);
  bool interval_is_exhausted() const;

  Params params_;
  LinePoint start_;
  LinePoint best_;   ///< The end of the interval with the lowest value so far.
  LinePoint other_;  ///< Its other end.
  double step_ = 0;
  double min_step_ = 0;  ///< The next trial step is between these two.
  double max_step_ = 0;
  double width_ = 0;  ///< Of the interval, one update ago and two updates ago.
  double previous_width_ = 0;
  bool bracketed_ = false;   ///< The interval contains a minimizer.
  bool first_stage_ = true;  ///< The auxiliary function ψ is still in use.
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LINE_SEARCH_MORE_THUENTE_H_
