#ifndef TFMINIMIZE_SOLVERS_LBFGSB_LBFGSB_H_
#define TFMINIMIZE_SOLVERS_LBFGSB_LBFGSB_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "solvers/span.h"
#include "solvers/status.h"

namespace tfminimize::solvers {

/// SciPy's options of the same names, with SciPy's defaults; and what SciPy does not know.
struct LbfgsbOptions {
  std::int64_t maxcor = 10;            ///< Correction pairs kept (m of the papers), 1 to 2^20.
  double ftol = 2.220446049250313e-9;  ///< Relative reduction of f that ends the solve.
  double gtol = 1e-5;                  ///< Max norm of the projected gradient that ends the solve.
  std::int64_t maxfun = 15000;         ///< Evaluations; tested at the end of an iteration.
  std::int64_t maxiter = 15000;        ///< Iterations; 0 evaluates the start and stops.
  std::int64_t maxls = 20;             ///< Evaluations in one line search, at least 1.
  /// Rounding unit of the function's values: the largest epsilon among the dtypes of loss, x and constraints.
  double precision = std::numeric_limits<double>::epsilon();
};

/// Limited-memory BFGS with bounds, version 3.0.
///
/// Reverse communication: the solver owns no function. The caller holds x and the gradient in two
/// buffers of its own, 64-byte aligned, that stay where they are while the solver lives:
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
  /// x: [n], the start; it is projected into the bounds at once. gradient: [n]. lower, upper: [n] each with
  /// infinities where there is no bound, or empty; they are read during the whole solve, not copied.
  Lbfgsb(Span<double> x, Span<double> gradient, Span<const double> lower, Span<const double> upper,
         const LbfgsbOptions& options);
  ~Lbfgsb();

  /// Throws OutOfMemory if the machine has no room for `count` solvers of n variables, with their x and gradients. The
  /// constructor does so for one.
  static void check_memory(std::size_t n, std::int64_t maxcor, std::size_t count = 1);

  Lbfgsb(Lbfgsb&&) noexcept;
  Lbfgsb& operator=(Lbfgsb&&) noexcept;
  Lbfgsb(const Lbfgsb&) = delete;
  Lbfgsb& operator=(const Lbfgsb&) = delete;

  /// Goes on as far as it can. After kEvaluate, f is the value at x and the gradient buffer holds the
  /// gradient there; after kIteration, f is not read. Never throws for a numerical event.
  Request advance(double f);

  /// Ends the solve with kCallerStopped; allowed after kIteration.
  void stop();

  /// Begins anew from what x holds: what comes is, bit for bit, what a new solver with these options on the same
  /// buffers would do, without its allocations. The bounds may hold other numbers than before; options.maxcor must be
  /// what it was. Throws std::invalid_argument as the constructor does, and then changes nothing.
  void restart(const LbfgsbOptions& options);
  /// The same, with the options it has.
  void restart();

  /// What the last advance() returned; kEvaluate before the first.
  Request request() const;
  Status status() const;

  /// The value at x at the last completed iteration, or at the start.
  double fun() const;
  std::int64_t nit() const;   ///< Completed iterations.
  std::int64_t nfev() const;  ///< Evaluations asked for.
  std::size_t size() const;   ///< n.

  /// The correction pairs in use: k of at most maxcor.
  std::size_t num_corrections() const;
  /// Copies them in order of age, the oldest first. s, y: [k * n], rows of n.
  void copy_corrections(Span<double> s, Span<double> y) const;

  /// The whole state, x and gradient included, so that a solver restored from it goes on with the same bits.
  std::vector<std::uint8_t> save() const;
  /// Takes a state saved by a solver of the same n, kind of bounds and maxcor; throws std::invalid_argument for
  /// anything else, and then changes nothing.
  void restore(Span<const std::uint8_t> state);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LBFGSB_LBFGSB_H_
