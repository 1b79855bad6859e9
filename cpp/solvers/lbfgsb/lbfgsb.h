#ifndef TFMINIMIZE_SOLVERS_LBFGSB_LBFGSB_H_
#define TFMINIMIZE_SOLVERS_LBFGSB_LBFGSB_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "solvers/span.h"
#include "solvers/status.h"

namespace tfminimize::solvers {

/// SciPy's options with their names and defaults, and one that SciPy does not have.
struct LbfgsbOptions {
  std::int64_t maxcor = 10;            ///< Correction pairs kept (m of the papers), 1 to 2^20.
  double ftol = 2.220446049250313e-9;  ///< Relative reduction of f that ends the solve.
  double gtol = 1e-5;                  ///< Max norm of the projected gradient that ends the solve.
  std::int64_t maxfun = 15000;         ///< Evaluations; the solver tests it at the end of an iteration.
  std::int64_t maxiter = 15000;        ///< Iterations; 0 evaluates the start and stops.
  std::int64_t maxls = 20;             ///< Evaluations in one line search, at least 1.
  /// Rounding unit of the function's values: the largest epsilon among the dtypes of loss, x and constraints.
  double precision = std::numeric_limits<double>::epsilon();
};

/// Limited-memory BFGS with bounds, version 3.0.
///
/// The solver works by reverse communication: it asks for evaluations and never calls a function. The caller owns the
/// buffers of x and the gradient, 64-byte aligned, and keeps them in place while the solver lives:
///
///     Lbfgsb solver(x, g, {}, {}, options);
///     Request request = Request::kEvaluate;
///     double f = 0;
///     while (request != Request::kStopped) {
///       if (request == Request::kEvaluate) f = evaluate(x, g);   // reads x, writes g
///       request = solver.advance(f);
///     }
class Lbfgsb {
 public:
  /// x: [n], the start; the constructor projects it into the bounds. gradient: [n]. lower, upper: [n] each, infinite
  /// for a variable without a bound, or empty. The solver reads the bounds during the whole solve and does not copy
  /// them.
  Lbfgsb(Span<double> x, Span<double> gradient, Span<const double> lower, Span<const double> upper,
         const LbfgsbOptions& options);
  ~Lbfgsb();

  /// Throws OutOfMemory if the machine has too little memory for `count` solvers of n variables, with their x and
  /// gradients. The constructor checks it for one.
  static void check_memory(std::size_t n, std::int64_t maxcor, std::size_t count = 1);

  Lbfgsb(Lbfgsb&&) noexcept;
  Lbfgsb& operator=(Lbfgsb&&) noexcept;
  Lbfgsb(const Lbfgsb&) = delete;
  Lbfgsb& operator=(const Lbfgsb&) = delete;

  /// Goes on until it needs something from the caller. After kEvaluate, f is the value at x, and the gradient buffer
  /// holds the gradient there. After kIteration, advance() does not read f. Never throws for a numerical event.
  Request advance(double f);

  /// Ends the solve with kCallerStopped. Allowed after kIteration only.
  void stop();

  /// Begins a new solve from the x in the buffer. It goes bit for bit as with a new solver, but allocates nothing. The
  /// bounds may have changed; options.maxcor must be the same. Throws std::invalid_argument as the constructor does,
  /// and then changes nothing.
  void restart(const LbfgsbOptions& options);
  /// The same with the present options.
  void restart();

  /// What the last advance() returned, or kEvaluate before the first call.
  Request request() const;
  Status status() const;

  /// The value at x at the last completed iteration, or at the start.
  double fun() const;
  std::int64_t nit() const;   ///< Completed iterations.
  std::int64_t nfev() const;  ///< Evaluations.
  std::size_t size() const;   ///< n.

  /// k, the number of correction pairs in use, at most maxcor.
  std::size_t num_corrections() const;
  /// Copies the pairs, the oldest first. s, y: [k * n], rows of n.
  void copy_corrections(Span<double> s, Span<double> y) const;

  /// The whole state, with x and the gradient. A solver that restores it goes on with the same bits.
  std::vector<std::uint8_t> save() const;
  /// Restores the state of a solver with the same n, kind of bounds and maxcor. Throws std::invalid_argument for
  /// anything else, and then changes nothing.
  void restore(Span<const std::uint8_t> state);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LBFGSB_LBFGSB_H_
