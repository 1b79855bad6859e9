#ifndef TFMINIMIZE_SOLVERS_SLSQP_SLSQP_H_
#define TFMINIMIZE_SOLVERS_SLSQP_SLSQP_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "solvers/span.h"
#include "solvers/status.h"

namespace tfminimize::solvers {

/// SciPy's options of the same names, with SciPy's defaults; and what SciPy does not know.
struct SlsqpOptions {
  double ftol = 1e-6;          ///< What the change of f, the length of the step and the violation must be below.
  std::int64_t maxiter = 100;  ///< Iterations.
  /// Rounding unit of the function's values: the largest epsilon among the dtypes of loss, x and constraints.
  double precision = std::numeric_limits<double>::epsilon();
};

/// How a solve by Slsqp ended, or that it has not.
enum class SlsqpStatus {
  kRunning,               ///< The solver still makes requests.
  kConverged,             ///< f, x or the Lagrangian change by less than ftol, and no constraint is violated by more.
  kTooManyEqualities,     ///< There are more equality constraints than variables.
  kSubproblemLimit,       ///< A quadratic subproblem took too many pivots.
  kInconsistent,          ///< The linearised constraints contradict each other, even relaxed.
  kSingularEqualities,    ///< The linearised equality constraints depend on each other and contradict each other.
  kNoDescent,             ///< No step reduces the merit function.
  kMaxIterations,         ///< maxiter iterations were made.
  kCallerStopped,         ///< The caller asked for the end with stop().
  kNonFiniteStart,        ///< f, a constraint or a derivative at the start is not finite.
  kNonFiniteDerivatives,  ///< A derivative is not finite where f and the constraints are.
  kNonFiniteSearch,       ///< f or a constraint is not finite all along the search direction.
  kUnboundedBelow,        ///< f reached minus infinity.
  kGradientMismatch,      ///< f or a violation rises as its derivative says that it falls, all along a line search.
};

inline constexpr SlsqpStatus kLastSlsqpStatus = SlsqpStatus::kGradientMismatch;

/// SciPy's integer for a status: 0 converged, 2 to 9 its failures, 99 stopped by the caller; 10 for those that SciPy
/// does not have.
int scipy_code(SlsqpStatus status);

/// SciPy's message where SciPy has this status, else a sentence that says what to change.
const char* message(SlsqpStatus status);

/// The memory of a constrained problem. All of it stays with the caller, and stays where it is while the solver lives.
///
/// The constraints are c_i(x) = 0 for i < num_equalities and c_i(x) >= 0 for the others. The Jacobian is held row by
/// row, each of `stride()` doubles, those behind the first n zero:
///
///     jacobian[i * stride + j] = ∂c_i/∂x_j
struct SlsqpProblem {
  Span<double> x;            ///< [n], 64-byte aligned; the start, projected into the bounds at once.
  Span<double> gradient;     ///< [n]
  Span<double> constraints;  ///< [m], c(x)
  Span<double> jacobian;     ///< [m * stride(n)], 64-byte aligned
  std::size_t num_equalities = 0;
  Span<const double> lower;       ///< [n] or empty; -infinity where there is no bound.
  Span<const double> upper;       ///< [n] or empty.
  Span<const double> offsets;     ///< [m] or empty. Where it is not NaN the constraint is linear, c_i = jacobian_i·x +
                                  ///< offsets_i: its row is filled in before the solve, the solver computes c_i itself,
                                  ///< and nobody else writes to either.
  std::size_t num_variables = 0;  ///< How many of the n are no padding; 0 for all.

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
  /// Doubles from one row of the Jacobian to the next: n, rounded up to a whole cache line.
  static constexpr std::size_t stride(std::size_t n) { return (n + 7) / 8 * 8; }
};

/// Sequential least squares programming: D. Kraft, "A software package for sequential quadratic programming",
/// DFVLR-FB 88-28, 1988, and "Algorithm 733", ACM Trans. Math. Softw. 20 (1994), 262-281.
///
/// Reverse communication: the solver owns no function.
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

  /// Throws OutOfMemory if the machine has no room for `count` solvers of n variables and m constraints, with their
  /// derivatives. The constructor does so for one.
  static void check_memory(std::size_t n, std::size_t m, std::size_t count = 1);

  Slsqp(Slsqp&&) noexcept;
  Slsqp& operator=(Slsqp&&) noexcept;
  Slsqp(const Slsqp&) = delete;
  Slsqp& operator=(const Slsqp&) = delete;

  /// Goes on as far as it can. After kEvaluate, f is the value at x, `constraints` holds c(x) and, if
  /// with_derivatives, `gradient` and `jacobian` hold theirs; after kDerivatives these two do, and after kIteration
  /// nothing is read. Never throws for a numerical event.
  Request advance(double f, bool with_derivatives = false);

  /// Ends the solve with kCallerStopped; allowed after kIteration.
  void stop();

  /// Begins anew from what x holds: what comes is, bit for bit, what a new solver with these options on the same
  /// problem would do, without its allocations. Bounds, offsets and the rows of linear constraints may hold other
  /// numbers than before; which constraints are linear must stay. Throws std::invalid_argument as the constructor does,
  /// and then changes nothing.
  void restart(const SlsqpOptions& options);
  /// The same, with the options it has.
  void restart();

  /// What the last advance() returned; kEvaluate before the first.
  Request request() const;
  SlsqpStatus status() const;

  /// After kEvaluate: whether the derivatives at x will most likely be asked for next (at the start, and at the first
  /// trial of a line search).
  bool expects_derivatives() const;
  /// Whether `gradient` and `jacobian` belong to the present x. At the end they may not: a solve that converges in
  /// function value needs no derivatives at its last x.
  bool has_derivatives() const;

  double fun() const;               ///< The value at x at the last completed iteration, or at the start.
  double constr_violation() const;  ///< The greatest violation of a constraint there; 0 without constraints.
  std::int64_t nit() const;         ///< Iterations begun, as SciPy counts them.
  std::int64_t nfev() const;        ///< Values asked for.
  std::int64_t njev() const;        ///< Derivatives used.
  std::size_t size() const;         ///< n.

  /// [m] Lagrange multipliers of the constraints in the last quadratic subproblem (those of bounds left out).
  Span<const double> multipliers() const;

  /// The whole state, x, derivatives and constraints included, so that a solver restored from it goes on with the
  /// same bits.
  std::vector<std::uint8_t> save() const;
  /// Takes a state saved by a solver of the same sizes; throws std::invalid_argument for anything else, and then
  /// changes nothing.
  void restore(Span<const std::uint8_t> state);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_SLSQP_H_
