#ifndef TFMINIMIZE_SOLVERS_SLSQP_SLSQP_H_
#define TFMINIMIZE_SOLVERS_SLSQP_SLSQP_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "solvers/padding.h"
#include "solvers/span.h"
#include "solvers/status.h"

namespace tfminimize::solvers {

/// SciPy's options with their names and defaults, and one that SciPy does not have.
struct SlsqpOptions {
  double ftol = 1e-6;          ///< Tolerance for the change of f, the length of the step and the violation.
  std::int64_t maxiter = 100;  ///< Iterations.
  /// Rounding unit of the function's values: the largest epsilon among the dtypes of loss, x and constraints.
  double precision = std::numeric_limits<double>::epsilon();
};

/// How a solve by Slsqp ended, if it has.
enum class SlsqpStatus {
  kRunning,               ///< It has not ended.
  kConverged,             ///< f, x or the Lagrangian changes by less than ftol, and no violation exceeds it.
  kTooManyEqualities,     ///< There are more equality constraints than variables.
  kSubproblemLimit,       ///< A quadratic subproblem took too many pivots.
  kInconsistent,          ///< The linearised constraints contradict each other, even relaxed.
  kSingularEqualities,    ///< The linearised equality constraints depend on each other and contradict each other.
  kNoDescent,             ///< No step reduces the merit function.
  kMaxIterations,         ///< The solver has made maxiter iterations.
  kCallerStopped,         ///< The caller called stop().
  kNonFiniteStart,        ///< f, a constraint or a derivative at the start is not finite.
  kNonFiniteDerivatives,  ///< A derivative is not finite, but f and the constraints are.
  kNonFiniteSearch,       ///< f or a constraint is not finite all along the search direction.
  kUnboundedBelow,        ///< f reached minus infinity.
  kGradientMismatch,      ///< f or a violation rises all along a direction in which it falls by its derivative.
};

inline constexpr SlsqpStatus kLastSlsqpStatus = SlsqpStatus::kGradientMismatch;

/// SciPy's integer for a status: 0 converged, 2 to 9 failed, 99 stopped by the caller; 10 for a status that SciPy does
/// not have.
int scipy_code(SlsqpStatus status);

/// SciPy's message if SciPy has this status, else a sentence that says what to change.
const char* message(SlsqpStatus status);

/// The memory of a constrained problem. The caller owns it and keeps it in place while the solver lives.
///
/// The constraints are c_i(x) = 0 for i < num_equalities and c_i(x) >= 0 for the others. The Jacobian is stored row by
/// row, stride(n) doubles each, with zeros in the padding:
///
///     jacobian[i * stride + j] = ∂c_i/∂x_j
struct SlsqpProblem {
  Span<double> x;            ///< [n], 64-byte aligned; the start, which the solver projects into the bounds.
  Span<double> gradient;     ///< [n]
  Span<double> constraints;  ///< [m], c(x)
  Span<double> jacobian;     ///< [m * stride(n)], 64-byte aligned
  std::size_t num_equalities = 0;
  Span<const double> lower;  ///< [n] or empty; -infinity for a variable without a bound.
  Span<const double> upper;  ///< [n] or empty.
  /// [m] or empty. If offsets[i] is not NaN, constraint i is linear: c_i = jacobian_i·x + offsets_i. The caller fills
  /// in its row before the solve, and the solver computes c_i itself; nobody else writes to either.
  Span<const double> offsets;
  std::size_t num_variables = 0;  ///< How many of the n are not padding; 0 for all.

  /// How much constraint i is violated.
  double violation(std::size_t i) const {
    const double c = constraints[i];
    if (c >= 0) return i < num_equalities ? c : 0;
    return -c;  // NaN stays NaN.
  }
  double total_violation() const {
    double total = 0;
    for (std::size_t i = 0; i < constraints.size(); ++i) total += violation(i);
    return total;
  }
  /// The distance between two rows of the Jacobian, in doubles.
  static constexpr std::size_t stride(std::size_t n) { return padded(n); }
};

/// Sequential least squares programming: D. Kraft, "A software package for sequential quadratic programming",
/// DFVLR-FB 88-28, 1988, and "Algorithm 733", ACM Trans. Math. Softw. 20 (1994), 262-281.
///
/// The solver works by reverse communication: it asks for evaluations and never calls a function.
///
///     Slsqp solver(problem, options);
///     Request request = solver.request();
///     while (request != Request::kStopped) {
///       bool both = solver.expects_derivatives();  // or false, to be asked for them later
///       if (request == Request::kEvaluate) f = evaluate(x, both);  // writes c(x); if `both`, also the derivatives
///       if (request == Request::kDerivatives) differentiate(x);    // writes the gradient and the Jacobian at x
///       request = solver.advance(f, both);
///     }
class Slsqp {
 public:
  Slsqp(const SlsqpProblem& problem, const SlsqpOptions& options);
  ~Slsqp();

  /// Throws OutOfMemory if the machine has too little memory for `count` solvers of n variables and m constraints, with
  /// their derivatives. The constructor checks it for one.
  static void check_memory(std::size_t n, std::size_t m, std::size_t count = 1);

  Slsqp(Slsqp&&) noexcept;
  Slsqp& operator=(Slsqp&&) noexcept;
  Slsqp(const Slsqp&) = delete;
  Slsqp& operator=(const Slsqp&) = delete;

  /// Goes on until it needs something from the caller. After kEvaluate, f is the value at x and `constraints` holds
  /// c(x); if with_derivatives, `gradient` and `jacobian` hold the derivatives at x. After kDerivatives, those two do.
  /// After kIteration, advance() reads nothing. Never throws for a numerical event.
  Request advance(double f, bool with_derivatives = false);

  /// Ends the solve with kCallerStopped. Allowed after kIteration only.
  void stop();

  /// Begins a new solve from the x in the buffer. It goes bit for bit as with a new solver, but allocates nothing.
  /// Bounds, offsets and the rows of linear constraints may have changed, but the same constraints must be linear.
  /// Throws std::invalid_argument as the constructor does, and then changes nothing.
  void restart(const SlsqpOptions& options);
  /// The same with the present options.
  void restart();

  /// What the last advance() returned, or kEvaluate before the first call.
  Request request() const;
  SlsqpStatus status() const;

  /// After kEvaluate: whether the solver will most likely ask for the derivatives at x next (at the start, and at the
  /// first trial of a line search).
  bool expects_derivatives() const;
  /// Whether `gradient` and `jacobian` belong to the present x. At the end they may not: a solve that converges in the
  /// value of f needs no derivatives at its last x.
  bool has_derivatives() const;

  double fun() const;               ///< The value at x at the last completed iteration, or at the start.
  double constr_violation() const;  ///< The largest violation of a constraint there; 0 without constraints.
  std::int64_t nit() const;         ///< Iterations, with one that has only begun, as in SciPy.
  std::int64_t nfev() const;        ///< Evaluations of f and the constraints.
  std::int64_t njev() const;        ///< Evaluations of the derivatives that the solver used.
  std::size_t size() const;         ///< n.

  /// [m] Lagrange multipliers of the constraints in the last quadratic subproblem, without those of bounds.
  Span<const double> multipliers() const;

  /// The whole state, with x, the constraints and the derivatives. A solver that restores it goes on with the same
  /// bits.
  std::vector<std::uint8_t> save() const;
  /// Restores the state of a solver with the same sizes. Throws std::invalid_argument for anything else, and then
  /// changes nothing.
  void restore(Span<const std::uint8_t> state);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_SLSQP_H_
