#ifndef TFMINIMIZE_SOLVERS_SOLVER_H_
#define TFMINIMIZE_SOLVERS_SOLVER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "solvers/span.h"
#include "solvers/status.h"

namespace tfminimize::solvers {

/// What every solver can do. A solver works on the memory of a Problem, by reverse communication: it owns no function.
///
///     Request request = solver.request();
///     while (request != Request::kStopped) {
///       bool both = !solver.takes_values_alone() || solver.expects_derivatives();
///       if (request == Request::kEvaluate) f = evaluate(x, both);  // writes c(x); if `both`, also the derivatives
///       if (request == Request::kDerivatives) differentiate(x);    // writes the gradient and the Jacobian at x
///       request = solver.advance(f, both);
///     }
class Solver {
 public:
  virtual ~Solver() = default;

  /// Goes on until it needs something. After kEvaluate, it reads f = f(x) and c(x) in `constraints`, and, if
  /// with_derivatives, the derivatives in `gradient` and `jacobian`. After kDerivatives it reads only these two, and
  /// after kIteration nothing. Never throws for a numerical event.
  virtual Request advance(double f, bool with_derivatives) = 0;

  /// Ends the solve at the last completed iteration, or at the start: x goes back there, and so do the values that
  /// belong to it. If the start was not evaluated yet, fun() is NaN.
  virtual void stop(StopReason reason) = 0;
  void stop() { stop(StopReason::kCaller); }

  /// Starts again from what x holds, with the same options.
  virtual void restart() = 0;

  /// What the last advance() returned; kEvaluate before the first.
  virtual Request request() const = 0;
  /// Whether advance() takes a value without derivatives; the solver then asks for them if it needs them.
  virtual bool takes_values_alone() const { return false; }
  /// After kEvaluate: whether the derivatives at x will most likely be needed.
  virtual bool expects_derivatives() const { return true; }
  /// Whether `gradient` and `jacobian` belong to the present x.
  virtual bool has_derivatives() const { return true; }

  virtual int status_code() const = 0;          ///< SciPy's integer.
  virtual const char* message() const = 0;      ///< The status in words.
  virtual double fun() const = 0;               ///< The value at the last completed iteration, or at the start.
  virtual double constr_violation() const = 0;  ///< The greatest violation of a constraint there.
  virtual double step_norm() const = 0;         ///< After kIteration: the Euclidean norm of the step to x.
  /// After kIteration: the max norm of P(x - g) - x, with P the projection into the bounds and g the gradient of the
  /// Lagrangian with multipliers(). The derivatives at x must be there.
  virtual double gradient_norm() const = 0;
  virtual std::int64_t nit() const = 0;   ///< Iterations.
  virtual std::int64_t nfev() const = 0;  ///< Values asked for.
  virtual std::int64_t njev() const = 0;  ///< Derivatives used.
  virtual std::size_t size() const = 0;   ///< n.
  virtual double maxtime() const = 0;     ///< The option of this name, which the caller keeps to.
  virtual Span<const double> multipliers() const { return {}; }  ///< [m], of the constraints.

  /// The whole state, including what the problem holds. A solver restored from it goes on with the same bits.
  virtual std::vector<std::uint8_t> save() const = 0;
  /// Takes over a state that a solver of the same kind and sizes has saved. Throws std::invalid_argument for anything
  /// else, and then changes nothing.
  virtual void restore(Span<const std::uint8_t> state) = 0;

 protected:
  Solver() = default;
  Solver(const Solver&) = default;
  Solver(Solver&&) = default;
  Solver& operator=(const Solver&) = default;
  Solver& operator=(Solver&&) = default;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SOLVER_H_
