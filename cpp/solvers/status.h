#ifndef TFMINIMIZE_SOLVERS_STATUS_H_
#define TFMINIMIZE_SOLVERS_STATUS_H_

namespace tfminimize::solvers {

/// What a solver needs from its caller before it can go on.
enum class Request {
  kEvaluate,     ///< The function at x, with its gradient or its constraints.
  kDerivatives,  ///< The derivatives at x, where the function has been evaluated already.
  kIteration,    ///< Nothing: an iteration is complete, x and f are its result.
  kStopped,      ///< Nothing ever again: status() says why.
};

/// How a solve ended, or that it has not.
enum class Status {
  kRunning,            ///< The solver still makes requests.
  kGradientConverged,  ///< The projected gradient is at most gtol.
  kFunctionConverged,  ///< The last iteration reduced f by less than ftol, relatively.
  kMaxIterations,      ///< maxiter iterations were made.
  kMaxEvaluations,     ///< More than maxfun evaluations were made.
  kCallerStopped,      ///< The caller asked for the end with stop().
  kLineSearchFailed,   ///< No lower point was found along steepest descent.
  kGradientMismatch,   ///< f rises all along a direction in which the gradient says it falls.
  kNonFiniteStart,     ///< f or its gradient at the start is not finite.
  kUnboundedBelow,     ///< f reached minus infinity.
  kDiverged,           ///< f has grown by half of its digits, and its gradient even more.
};

/// SciPy's integer for a status: 0 converged, 1 a limit was reached, 2 failed, 99 stopped by the caller.
int scipy_code(Status status);

/// SciPy's message where SciPy has this status, else a sentence that says what to change.
const char* message(Status status);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_STATUS_H_
