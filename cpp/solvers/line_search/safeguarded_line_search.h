#ifndef TFMINIMIZE_SOLVERS_LINE_SEARCH_SAFEGUARDED_LINE_SEARCH_H_
#define TFMINIMIZE_SOLVERS_LINE_SEARCH_SAFEGUARDED_LINE_SEARCH_H_

#include <cmath>
#include <cstdint>

#include "solvers/gradient_check.h"
#include "solvers/line_search/more_thuente.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {

/// A MoreThuenteLineSearch that backtracks from trials that are not finite, and learns from the others whether the
/// gradient is wrong.
///
/// It owns no memory elsewhere: copying it saves its state.
class SafeguardedLineSearch {
 public:
  using Verdict = MoreThuenteLineSearch::Verdict;

  SafeguardedLineSearch() = default;
  SafeguardedLineSearch(const LinePoint& start, double first_step, const MoreThuenteLineSearch::Params& params,
                        const GradientCheck& gradient_check)
      : search_(start, first_step, params), gradient_check_(gradient_check) {}

  /// The step to try next, or the last one.
  double step() const { return search_.step(); }
  std::int64_t num_trials() const { return num_trials_; }
  bool gradient_is_wrong() const { return gradient_check_.is_wrong(); }

  /// Takes φ and φ' at step(); they need not be finite.
  Verdict advance(double f, double slope) {
    ++num_trials_;
    if (!std::isfinite(f) || !std::isfinite(slope)) {
      search_.backtrack();
      return Verdict::kTryNext;
    }
    gradient_check_.add(step(), f, f - search_.start().f, slope);
    return search_.advance(f, slope);
  }

  /// Whether this can be a search at all, if it was copied from bytes of unknown origin.
  bool is_valid() const { return is_count(num_trials_) && search_.is_valid(); }

 private:
  std::int64_t num_trials_ = 0;
  MoreThuenteLineSearch search_;
  GradientCheck gradient_check_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LINE_SEARCH_SAFEGUARDED_LINE_SEARCH_H_
