#ifndef TFMINIMIZE_SOLVERS_STATUS_H_
#define TFMINIMIZE_SOLVERS_STATUS_H_

#include <cstddef>
#include <cstdint>

namespace tfminimize::solvers {

/// What a solver asks of its caller before it can go on.
enum class Request {
  kEvaluate,     ///< The function at x, with its gradient or its constraints.
  kDerivatives,  ///< The derivatives at x; the function has been evaluated there already.
  kIteration,    ///< Nothing: an iteration is complete, and x and f are its result.
  kStopped,      ///< Nothing any more: status() says why.
};

/// Why a caller ends a solve.
enum class StopReason {
  kCaller,     ///< It wants no more iterations.
  kTimeLimit,  ///< The solve has taken `maxtime` seconds.
};

/// The message of every solver that ended at its time limit.
inline constexpr char kTimeLimitMessage[] = "Time limit reached";

/// How a solve ended, if it has.
enum class Status {
  kRunning,            ///< It has not ended.
  kGradientConverged,  ///< The projected gradient is at most gtol.
  kFunctionConverged,  ///< The last iteration reduced f by less than ftol, relatively.
  kMaxIterations,      ///< The solver has made maxiter iterations.
  kMaxEvaluations,     ///< The solver has made more than maxfun evaluations.
  kMaxTime,            ///< The caller says that maxtime seconds have passed.
  kCallerStopped,      ///< The caller called stop().
  kLineSearchFailed,   ///< The line search found no lower point, even along steepest descent.
  kGradientMismatch,   ///< f rises all along a direction in which it falls by its gradient.
  kNonFiniteStart,     ///< f or its gradient at the start is not finite.
  kUnboundedBelow,     ///< f reached minus infinity.
  kDiverged,           ///< f has grown by half of its digits, and its gradient even more.
};

/// SciPy's integer for a status: 0 converged, 1 reached a limit, 2 failed, 99 stopped by the caller.
int scipy_code(Status status);

/// SciPy's message if SciPy has this status, else a sentence that says what to change.
const char* message(Status status);

/// Throws std::logic_error if the solver has stopped: then the caller must not call advance().
void check_may_advance(Request request);

/// Throws std::logic_error if the solver has stopped: then the caller must not call stop().
void check_may_stop(Request request);

/// Throws std::logic_error unless the solve has not begun: only then may a solver take what another one has learned.
void check_may_warm_start(Request request, std::int64_t nfev);

/// Throws std::invalid_argument if a solver of n variables cannot take what one of `other` variables has learned.
void check_same_size(std::size_t n, std::size_t other);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_STATUS_H_
