#include "solvers/status.h"

#include <stdexcept>
#include <string>

namespace tfminimize::solvers {

int scipy_code(Status status) {
  switch (status) {
    case Status::kGradientConverged:
    case Status::kFunctionConverged:
      return 0;
    case Status::kMaxIterations:
    case Status::kMaxEvaluations:
    case Status::kMaxTime:
      return 1;
    case Status::kCallerStopped:
      return 99;
    case Status::kRunning:
    case Status::kLineSearchFailed:
    case Status::kGradientMismatch:
    case Status::kNonFiniteStart:
    case Status::kUnboundedBelow:
    case Status::kDiverged:
      return 2;
  }
  return 2;
}

const char* message(Status status) {
  switch (status) {
    case Status::kRunning:
      return "The solve has not ended.";
    case Status::kGradientConverged:
      return "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL";
    case Status::kFunctionConverged:
      return "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH";
    case Status::kMaxIterations:
      return "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT";
    case Status::kMaxEvaluations:
      return "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT";
    case Status::kMaxTime:
      return kTimeLimitMessage;
    case Status::kCallerStopped:
      return "STOP: CALLBACK REQUESTED HALT";
    case Status::kLineSearchFailed:
      return "ABNORMAL: ";
    case Status::kGradientMismatch:
      return "ABNORMAL: the function rises all along a direction in which its gradient says that it falls; check the "
             "sign and the value of the gradient.";
    case Status::kNonFiniteStart:
      return "ABNORMAL: the function or its gradient is not finite at the start; choose another x0.";
    case Status::kUnboundedBelow:
      return "ABNORMAL: the function reached minus infinity; it has no minimum, or needs bounds.";
    case Status::kDiverged:
      return "ABNORMAL: the function falls ever faster, as at a pole; it has no minimum there, or needs bounds.";
  }
  return "";
}

void check_may_advance(Request request) {
  if (request == Request::kStopped) throw std::logic_error("advance() was called on a solver that has stopped.");
}

void check_may_stop(Request request) {
  if (request == Request::kStopped) throw std::logic_error("stop() was called on a solver that has stopped.");
}

void check_may_warm_start(Request request, std::int64_t nfev) {
  if (request != Request::kEvaluate || nfev > 0) {
    throw std::logic_error("warm_start() is allowed only before the solve begins.");
  }
}

void check_same_size(std::size_t n, std::size_t other) {
  if (n == other) return;
  throw std::invalid_argument("A solver of " + std::to_string(n) + " variables cannot take over from one of " +
                              std::to_string(other) + ".");
}

}  // namespace tfminimize::solvers
