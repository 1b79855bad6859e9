#include "solvers/line_search/wolfe_line_search.h"

#include <cmath>

namespace tfminimize::solvers {

WolfeLineSearch::Verdict WolfeLineSearch::advance(double f, double slope) {
  if (zooms_) return zoom_.advance(f, slope);
  switch (search_.advance(f, slope)) {
    case SafeguardedLineSearch::Verdict::kConverged:
      return Verdict::kConverged;
    case SafeguardedLineSearch::Verdict::kTryNext:
      if (search_.num_trials() < kMaxTrials && std::isfinite(search_.step())) return Verdict::kTryNext;
      break;
    case SafeguardedLineSearch::Verdict::kNoProgress:
      break;
  }
  zooms_ = true;
  return Verdict::kTryNext;
}

}  // namespace tfminimize::solvers
