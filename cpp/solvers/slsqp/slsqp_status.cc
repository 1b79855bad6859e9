#include "solvers/slsqp/slsqp.h"

namespace tfminimize::solvers {

int scipy_code(SlsqpStatus status) {
  switch (status) {
    case SlsqpStatus::kConverged:
      return 0;
    case SlsqpStatus::kTooManyEqualities:
      return 2;
    case SlsqpStatus::kSubproblemLimit:
      return 3;
    case SlsqpStatus::kInconsistent:
      return 4;
    case SlsqpStatus::kSingularEqualities:
      return 6;
    case SlsqpStatus::kNoDescent:
      return 8;
    case SlsqpStatus::kMaxIterations:
    case SlsqpStatus::kMaxTime:
      return 9;
    case SlsqpStatus::kCallerStopped:
      return 99;
    case SlsqpStatus::kRunning:
    case SlsqpStatus::kNonFiniteStart:
    case SlsqpStatus::kNonFiniteDerivatives:
    case SlsqpStatus::kNonFiniteSearch:
    case SlsqpStatus::kUnboundedBelow:
    case SlsqpStatus::kGradientMismatch:
      return 10;
  }
  return 10;
}

const char* message(SlsqpStatus status) {
  switch (status) {
    case SlsqpStatus::kRunning:
      return "The solve has not ended.";
    case SlsqpStatus::kConverged:
      return "Optimization terminated successfully";
    case SlsqpStatus::kTooManyEqualities:
      return "More equality constraints than independent variables";
    case SlsqpStatus::kSubproblemLimit:
      return "More than 3*n iterations in LSQ subproblem";
    case SlsqpStatus::kInconsistent:
      return "Inequality constraints incompatible";
    case SlsqpStatus::kSingularEqualities:
      return "Singular matrix C in LSQ subproblem";
    case SlsqpStatus::kNoDescent:
      return "Positive directional derivative for linesearch";
    case SlsqpStatus::kMaxIterations:
      return "Iteration limit reached";
    case SlsqpStatus::kMaxTime:
      return kTimeLimitMessage;
    case SlsqpStatus::kCallerStopped:
      return "Stopped by the callback";
    case SlsqpStatus::kNonFiniteStart:
      return "The function, a constraint or a derivative is not finite at the start; choose another x0.";
    case SlsqpStatus::kNonFiniteDerivatives:
      return "A derivative of the function or of a constraint is not finite where the function is; check the function "
             "there, or exclude the point by bounds.";
    case SlsqpStatus::kNonFiniteSearch:
      return "The function or a constraint is not finite all along the search direction; exclude that region by "
             "bounds, or scale the variables.";
    case SlsqpStatus::kUnboundedBelow:
      return "The function reached minus infinity; it has no minimum, or needs bounds.";
    case SlsqpStatus::kGradientMismatch:
      return "The function or the violation of a constraint rises all along a direction in which its gradient says "
             "that it falls; check the sign and the value of the gradients.";
  }
  return "";
}

}  // namespace tfminimize::solvers
