#ifndef TFMINIMIZE_SOLVERS_LINE_SEARCH_WOLFE_LINE_SEARCH_H_
#define TFMINIMIZE_SOLVERS_LINE_SEARCH_WOLFE_LINE_SEARCH_H_

#include <cmath>
#include <cstdint>

#include "solvers/line_search/safeguarded_line_search.h"
#include "solvers/line_search/zoom.h"

namespace tfminimize::solvers {

/// A line search for the strong Wolfe conditions: Moré and Thuente's, and where it fails, Nocedal and Wright's.
///
/// It owns no memory elsewhere: copying it saves its state.
class WolfeLineSearch {
 public:
  using Verdict = ZoomLineSearch::Verdict;

  WolfeLineSearch() = default;
  /// start.t is 0 and start.slope < 0; first_step > 0. c1 and c2 are the constants of the Wolfe conditions.
  WolfeLineSearch(const LinePoint& start, double first_step, double c1, double c2, const GradientCheck& gradient_check)
      : search_(start, first_step, params(c1, c2), gradient_check), zoom_(start, first_step, c1, c2) {}

  /// The step to try next, or the last one.
  double step() const { return zooms_ ? zoom_.step() : search_.step(); }
  bool gradient_is_wrong() const { return search_.gradient_is_wrong(); }

  /// Whether advance() needs φ' besides this φ.
  bool needs_slope(double f) const { return zooms_ ? zoom_.needs_slope(f) : std::isfinite(f); }
  /// Takes φ and φ' at step(); they need not be finite.
  Verdict advance(double f, double slope);

  /// Whether this can be a search at all, if it was copied from bytes of unknown origin.
  bool is_valid() const { return is_bool(zooms_) && search_.is_valid() && zoom_.is_valid(); }

 private:
  static constexpr std::int64_t kMaxTrials = 100;  ///< Of Moré and Thuente's search.

  static MoreThuenteLineSearch::Params params(double c1, double c2) { return {c1, c2, 1e-14, 1e100}; }

  SafeguardedLineSearch search_;
  ZoomLineSearch zoom_;
  bool zooms_ = false;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LINE_SEARCH_WOLFE_LINE_SEARCH_H_
