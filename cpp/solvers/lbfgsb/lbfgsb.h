#ifndef TFMINIMIZE_SOLVERS_LBFGSB_LBFGSB_H_
#define TFMINIMIZE_SOLVERS_LBFGSB_LBFGSB_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "solvers/kernels/kernels.h"
#include "solvers/problem.h"
#include "solvers/solver.h"
#include "solvers/span.h"
#include "solvers/status.h"

namespace tfminimize::solvers {

/// SciPy's options with their names and defaults, and two that SciPy does not have.
struct LbfgsbOptions {
  std::int64_t maxcor = 10;            ///< Correction pairs kept (m of the papers), 1 to 2^20.
  double ftol = 2.220446049250313e-9;  ///< Relative reduction of f that ends the solve.
  double gtol = 1e-5;                  ///< Max norm of the projected gradient that ends the solve.
  std::int64_t maxfun = 15000;         ///< Evaluations; the solver tests it at the end of an iteration.
  std::int64_t maxiter = 15000;        ///< Iterations; 0 evaluates the start and stops.
  std::int64_t maxls = 20;             ///< Evaluations in one line search, at least 1.
  /// Rounding unit of the function's values: the largest epsilon among the dtypes of loss, x and constraints.
  double precision = std::numeric_limits<double>::epsilon();
  double maxtime = std::numeric_limits<double>::infinity();  ///< Seconds; the caller measures them.
  /// The dtype of the correction pairs. float32 halves their memory, and the time to read them. The path to the minimum
  /// then differs from SciPy's.
  Storage storage = Storage::kFloat64;
};

/// Limited-memory BFGS with bounds, version 3.0.
///
/// It takes each value with its gradient, and no constraints.
class Lbfgsb final : public Solver {
 public:
  /// Throws std::invalid_argument for a problem with constraints.
  Lbfgsb(const Problem& problem, const LbfgsbOptions& options);
  ~Lbfgsb() override;

  /// Throws OutOfMemory if there is too little memory for `count` solvers of n variables with their x and gradients,
  /// and for `beside` bytes more that each solve needs. The constructor checks only what it allocates itself.
  static void check_memory(std::size_t n, std::int64_t maxcor, Storage storage, std::size_t count = 1,
                           double beside = 0);

  Lbfgsb(Lbfgsb&&) noexcept;
  Lbfgsb& operator=(Lbfgsb&&) noexcept;
  Lbfgsb(const Lbfgsb&) = delete;
  Lbfgsb& operator=(const Lbfgsb&) = delete;

  Request advance(double f, bool with_derivatives) override;
  Request advance(double f) { return advance(f, true); }

  using Solver::stop;
  void stop(StopReason reason) override;

  /// Begins a new solve from the x in the buffer. It takes the same steps as a new solver, bit for bit, but allocates
  /// nothing. The bounds may have changed; options.maxcor and .storage must be the same. Throws std::invalid_argument
  /// as the constructor does, and then changes nothing.
  void restart(const LbfgsbOptions& options);
  void restart() override;

  /// Goes on with these options, mostly after restore(). If the solve was ended by a limit, a tolerance or stop(), the
  /// options are tested again; other ends are final. options.maxcor must be the same.
  void resume(const LbfgsbOptions& options);

  /// Begins with the correction pairs of another solver of as many variables, or with the newest maxcor of them.
  /// Allowed before the first advance(). False if the pairs cannot be used; then the solve begins without any.
  bool warm_start(const Lbfgsb& other);

  Status status() const;

  Request request() const override;
  int status_code() const override { return scipy_code(status()); }
  const char* message() const override { return solvers::message(status()); }
  double fun() const override;
  double constr_violation() const override { return 0; }  ///< Every iterate satisfies the bounds.
  double step_norm() const override;
  double gradient_norm() const override;
  std::int64_t nit() const override;
  std::int64_t nfev() const override;
  std::int64_t njev() const override { return nfev(); }
  std::size_t size() const override;
  double maxtime() const override;

  /// The correction pairs in use: k of at most maxcor.
  std::size_t num_corrections() const;
  /// Copies them in order of age, the oldest first. s, y: [k * n], rows of n.
  void copy_corrections(Span<double> s, Span<double> y) const;

  std::vector<std::uint8_t> save() const override;
  void restore(Span<const std::uint8_t> state) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LBFGSB_LBFGSB_H_
