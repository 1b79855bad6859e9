#include "solvers/bfgs/bfgs.h"

namespace tfminimize::solvers {

int scipy_code(BfgsStatus status) {
  switch (status) {
    case BfgsStatus::kGradientConverged:
    case BfgsStatus::kStepConverged:
      return 0;
    case BfgsStatus::kMaxIterations:
    case BfgsStatus::kMaxTime:
      return 1;
    case BfgsStatus::kRunning:
    case BfgsStatus::kPrecisionLoss:
    case BfgsStatus::kGradientMismatch:
    case BfgsStatus::kUnboundedBelow:
    case BfgsStatus::kInfiniteStart:
      return 2;
    case BfgsStatus::kNan:
      return 3;
    case BfgsStatus::kCallerStopped:
      return 99;
  }
  return 2;
}

const char* message(BfgsStatus status) {
  switch (status) {
    case BfgsStatus::kRunning:
      return "The solve has not ended.";
    case BfgsStatus::kGradientConverged:
    case BfgsStatus::kStepConverged:
      return "Optimization terminated successfully.";
    case BfgsStatus::kMaxIterations:
      return "Maximum number of iterations has been exceeded.";
    case BfgsStatus::kMaxTime:
      return kTimeLimitMessage;
    case BfgsStatus::kPrecisionLoss:
      return "Desired error not necessarily achieved due to precision loss.";
    case BfgsStatus::kGradientMismatch:
      return "The function rises all along a direction in which its gradient says that it falls; check the sign and "
             "the value of the gradient.";
    case BfgsStatus::kUnboundedBelow:
      return "The function reached minus infinity; it has no minimum.";
    case BfgsStatus::kNan:
      return "NaN result encountered: the function or its gradient is not finite at the start; choose another x0.";
    case BfgsStatus::kInfiniteStart:
      return "The function or its gradient is not finite at the start; choose another x0.";
    case BfgsStatus::kCallerStopped:
      return "Stopped by the callback";
  }
  return "";
}

}  // namespace tfminimize::solvers
