#ifndef TFMINIMIZE_SOLVERS_SLSQP_SLSQP_H_
#define TFMINIMIZE_SOLVERS_SLSQP_SLSQP_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "solvers/problem.h"
#include "solvers/solver.h"
#include "solvers/span.h"
#include "solvers/status.h"

namespace tfminimize::solvers {

/// SciPy's options with their names and defaults, and two that SciPy does not have.
struct SlsqpOptions {
  double ftol = 1e-6;          ///< Tolerance for the change of f, the length of the step and the violation.
  std::int64_t maxiter = 100;  ///< Iterations.
  /// Rounding unit of the function's values: the largest epsilon among the dtypes of loss, x and constraints.
  double precision = std::numeric_limits<double>::epsilon();
  double maxtime = std::numeric_limits<double>::infinity();  ///< Seconds; the caller measures them.
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
  kMaxTime,               ///< The caller says that maxtime seconds have passed.
  kCallerStopped,         ///< The caller called stop().
  kNonFiniteStart,        ///< f, a constraint or a derivative at the start is not finite.
  kNonFiniteDerivatives,  ///< A derivative is not finite, but f and the constraints are.
  kNonFiniteSearch,       ///< f or a constraint is not finite all along the search direction.
  kUnboundedBelow,        ///< f reached minus infinity.
  kGradientMismatch,      ///< f or a violation rises all along a direction in which its derivative is negative.
};

inline constexpr SlsqpStatus kLastSlsqpStatus = SlsqpStatus::kGradientMismatch;

/// SciPy's integer for a status: 0 converged, 2 to 9 failed, 99 stopped by the caller; 10 for a status that SciPy does
/// not have.
int scipy_code(SlsqpStatus status);

/// SciPy's message if SciPy has this status, else a sentence that says what to change.
const char* message(SlsqpStatus status);

/// Sequential least squares programming: D. Kraft, "A software package for sequential quadratic programming",
/// DFVLR-FB 88-28, 1988, and "Algorithm 733", ACM Trans. Math. Softw. 20 (1994), 262-281.
///
/// It takes values alone, and expects to need derivatives at the start and at the first trial of a line search.
class Slsqp final : public Solver {
 public:
  Slsqp(const Problem& problem, const SlsqpOptions& options);
  ~Slsqp() override;

  /// Throws OutOfMemory if the machine has too little memory for `count` solvers of n variables and m constraints, with
  /// their derivatives. The constructor checks it for one.
  static void check_memory(std::size_t n, std::size_t m, std::size_t count = 1);

  Slsqp(Slsqp&&) noexcept;
  Slsqp& operator=(Slsqp&&) noexcept;
  Slsqp(const Slsqp&) = delete;
  Slsqp& operator=(const Slsqp&) = delete;

  Request advance(double f, bool with_derivatives) override;
  Request advance(double f) { return advance(f, false); }

  using Solver::stop;
  void stop(StopReason reason) override;

  /// Begins a new solve from the x in the buffer. It takes the same steps as a new solver, bit for bit, but allocates
  /// nothing. Bounds, offsets and the rows of linear constraints may have changed, but the same constraints must be
  /// linear. Throws std::invalid_argument as the constructor does, and then changes nothing.
  void restart(const SlsqpOptions& options);
  void restart() override;

  /// Goes on with these options, mostly after restore(). If the solve was ended by the limit, the tolerance or stop(),
  /// the options are tested again; other ends are final.
  void resume(const SlsqpOptions& options);

  /// Begins with the B of another solver of as many variables and, if it has as many constraints of each kind, with its
  /// multipliers and active set. Allowed before the first advance(). False if B is not finite or not positive definite;
  /// then the solve begins without.
  bool warm_start(const Slsqp& other);

  SlsqpStatus status() const;

  Request request() const override;
  bool takes_values_alone() const override { return true; }
  bool expects_derivatives() const override;
  /// May be false at the end, since a solve that converges in the value of f needs no derivatives at its last x.
  bool has_derivatives() const override;

  int status_code() const override { return scipy_code(status()); }
  const char* message() const override { return solvers::message(status()); }
  double fun() const override;
  double constr_violation() const override;
  double step_norm() const override;
  double gradient_norm() const override;
  std::int64_t nit() const override;  ///< Includes one that has only begun, as in SciPy.
  std::int64_t nfev() const override;
  std::int64_t njev() const override;
  std::size_t size() const override;
  double maxtime() const override;

  /// The multipliers of the last quadratic subproblem, without those of the bounds.
  Span<const double> multipliers() const override;

  std::vector<std::uint8_t> save() const override;
  void restore(Span<const std::uint8_t> state) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_SLSQP_H_
