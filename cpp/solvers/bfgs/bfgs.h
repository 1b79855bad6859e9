#ifndef TFMINIMIZE_SOLVERS_BFGS_BFGS_H_
#define TFMINIMIZE_SOLVERS_BFGS_BFGS_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "solvers/bfgs/bfgs_update.h"
#include "solvers/problem.h"
#include "solvers/solver.h"
#include "solvers/span.h"
#include "solvers/status.h"

namespace tfminimize::solvers {

/// A matrix, row by row, in memory that somebody else owns. If `data` is null, there is no matrix.
struct DenseMatrix {
  std::shared_ptr<const double> data;
  std::size_t rows = 0;
  std::size_t columns = 0;
};

/// SciPy's options with their names and defaults, and four that SciPy does not have.
struct BfgsOptions {
  double gtol = 1e-5;                                     ///< Norm of the gradient that ends the solve.
  double norm = std::numeric_limits<double>::infinity();  ///< The order of that norm.
  double xrtol = 0;                                       ///< Relative length of a step that ends the solve.
  double c1 = 1e-4;                                       ///< Sufficient decrease of a step,
  double c2 = 0.9;                                        ///< and its curvature condition: 0 < c1 < c2 < 1.
  std::optional<std::int64_t> maxiter;                    ///< Iterations; without a number, 200·n.
  DenseMatrix hess_inv0;                                  ///< [n, n], of which the lower triangle is read; or none.
  BfgsUpdate update = BfgsUpdate::kBfgs;                  ///< The member of the self-scaled Broyden family.
  bool initial_scale = false;                             ///< Scales H before its first update.
  /// Rounding unit of the function's values: the largest epsilon among the dtypes of loss and x.
  double precision = std::numeric_limits<double>::epsilon();
  double maxtime = std::numeric_limits<double>::infinity();  ///< Seconds; the caller measures them.
};

/// How a solve by Bfgs ended, if it has.
enum class BfgsStatus {
  kRunning,            ///< It has not ended.
  kGradientConverged,  ///< The norm of the gradient is at most gtol.
  kStepConverged,      ///< The last step was shorter than xrtol allows.
  kMaxIterations,      ///< The solver has made maxiter iterations.
  kMaxTime,            ///< The caller says that maxtime seconds have passed.
  kPrecisionLoss,      ///< The line search found no lower point.
  kGradientMismatch,   ///< f rises all along a direction in which it falls by its gradient.
  kUnboundedBelow,     ///< f reached minus infinity.
  kNan,                ///< f or its gradient is NaN at the start.
  kInfiniteStart,      ///< f or its gradient is infinite at the start.
  kCallerStopped,      ///< The caller called stop().
};

inline constexpr BfgsStatus kLastBfgsStatus = BfgsStatus::kCallerStopped;

/// SciPy's integer for a status: 0 converged, 1 reached a limit, 2 failed, 3 NaN, 99 stopped by the caller.
int scipy_code(BfgsStatus status);

/// SciPy's message if SciPy has this status, else a sentence that says what to change.
const char* message(BfgsStatus status);

/// BFGS and its self-scaled relatives, with the inverse Hessian as a triangle. It takes values alone, no bounds and no
/// constraints.
///
/// J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd edition, algorithm 6.1; BfgsUpdate says where the others are
/// from. An iteration is one pass over the triangle: H₊g₊ follows from Hg₊, since Hy = Hg₊ - Hg, and Hg is minus the
/// last direction; and what updates H to H₊ waits for the pass of the next iteration.
class Bfgs final : public Solver {
 public:
  /// Throws std::invalid_argument for a problem with bounds or constraints.
  Bfgs(const Problem& problem, const BfgsOptions& options);
  ~Bfgs() override;

  /// Throws OutOfMemory if there is too little memory for `count` solvers of n variables with their x and gradients,
  /// and for `beside` bytes more that each solve needs. The constructor checks only what it allocates itself.
  static void check_memory(std::size_t n, std::size_t count = 1, double beside = 0);

  Bfgs(Bfgs&&) noexcept;
  Bfgs& operator=(Bfgs&&) noexcept;
  Bfgs(const Bfgs&) = delete;
  Bfgs& operator=(const Bfgs&) = delete;

  Request advance(double f, bool with_derivatives) override;
  Request advance(double f) { return advance(f, false); }

  using Solver::stop;
  void stop(StopReason reason) override;

  /// Begins a new solve from the x in the buffer, with hess_inv0 or the identity for H. It takes the same steps as a
  /// new solver, bit for bit, but allocates nothing. Throws std::invalid_argument as the constructor does, and then
  /// changes nothing.
  void restart(const BfgsOptions& options);
  void restart() override;

  /// Goes on with these options, mostly after restore(). If the solve was ended by a limit, a tolerance or stop(), the
  /// options are tested again; other ends are final.
  void resume(const BfgsOptions& options);

  /// Begins with the H of another solver of as many variables. Allowed before the first advance(). False if H is not
  /// finite or not positive definite, as its diagonal shows; then the solve begins without, which counts as a reset.
  bool warm_start(const Bfgs& other);
  /// Writes H into dense, [n * n]. It is that of the last direction, as in SciPy: without the pair of the iteration
  /// that ended the solve, unless maxiter did.
  void copy_inverse_hessian(Span<double> dense) const;

  BfgsStatus status() const;

  Request request() const override;
  bool takes_values_alone() const override { return true; }
  /// False if the solve was ended where only the value is known.
  bool has_derivatives() const override;

  int status_code() const override { return scipy_code(status()); }
  const char* message() const override { return solvers::message(status()); }
  double fun() const override;
  double constr_violation() const override { return 0; }
  double step_norm() const override;
  double gradient_norm() const override;
  std::int64_t nit() const override;
  std::int64_t nfev() const override;
  std::int64_t njev() const override;
  std::size_t size() const override;
  double maxtime() const override;

  /// The updates that were left out because H would not have stayed positive definite.
  std::int64_t num_skipped_updates() const;
  /// How often H was replaced by a multiple of the identity, because rounding had cost it its definiteness or would
  /// have done so.
  std::int64_t num_resets() const;

  std::vector<std::uint8_t> save() const override;
  void restore(Span<const std::uint8_t> state) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_BFGS_BFGS_H_
