#ifndef TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_
#define TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include "objectives/batched_input.h"
#include "solvers/span.h"

namespace tfminimize {

/// Where an objective of n variables and m constraints writes its results. If m is 0, it uses only `gradient`.
///
///     jacobian[i * stride + j] = ∂c_i/∂x_j
struct Buffers {
  Span<double> gradient;     ///< [n], 64-byte aligned
  Span<double> constraints;  ///< [m]
  Span<double> jacobian;     ///< [m * stride]
  std::size_t stride = 0;    ///< At least n.
};

/// Thrown by an evaluation that ends early since the deadline has passed.
struct DeadlinePassed {};

/// Thrown by an evaluation that does not take place since a callback, perhaps one in another process, wishes to stop.
struct StopWished {};

/// No deadline.
inline constexpr auto kNever = std::chrono::steady_clock::time_point::max();

/// How often an evaluation is cancelled again, since it may begin just after the last try.
inline constexpr auto kRepeatCancel = std::chrono::milliseconds(20);

/// A function f to minimise, and the constraint functions c if there are any, with their derivatives.
///
/// x: [n], 64-byte aligned; it must not overlap a buffer. Exceptions from the functions come through, and the buffers
/// are then undefined. One object evaluates in one thread at a time; several objects may run at once.
class Objective {
 public:
  Objective() = default;
  virtual ~Objective() = default;
  Objective(const Objective&) = delete;
  Objective& operator=(const Objective&) = delete;

  /// Returns f(x); writes c(x) and the derivatives at x.
  virtual double evaluate(Span<const double> x, const Buffers& to) {
    const double f = values(x, to);
    derivatives(x, to);
    return f;
  }

  /// Returns f(x) and writes c(x). Leaves the derivatives alone.
  virtual double values(Span<const double> x, const Buffers& to) = 0;

  /// Writes the derivatives at x. The values at x must have been evaluated before.
  virtual void derivatives(Span<const double> x, const Buffers& to) = 0;

  /// Whether evaluate() takes less time than values() and derivatives() together. If so, drive() calls it whenever it
  /// expects to need derivatives, even if the solver has not asked for them.
  virtual bool is_joint() const = 0;

  /// Asks an evaluation in another thread to end early with an exception, if that is possible. Has no effect on later
  /// evaluations. May be called at any time, from any thread.
  virtual void cancel() {}

  /// From now on, an evaluation throws DeadlinePassed at this time, if it can end early.
  virtual void set_deadline(std::chrono::steady_clock::time_point /*deadline*/) {}

  /// Whether every evaluation after the deadline throws DeadlinePassed, so that the caller must not look at the time.
  virtual bool keeps_deadline() const { return false; }

  /// What the last evaluation has added up besides the loss, if anything.
  virtual Span<const double> sums() const { return {}; }

  /// Begins a batch. Many batches may run at once, so from now on an evaluation uses only the calling thread if it can.
  /// select() chooses the values of these inputs. Throws std::invalid_argument for inputs that the objective does not
  /// have, and then changes nothing.
  virtual void begin_batch(const std::vector<BatchedInput>& inputs) {
    if (!inputs.empty()) throw std::invalid_argument("This objective has no inputs besides x.");
  }

  /// Evaluates this problem of the batch from now on.
  virtual void select(std::size_t /*problem*/) {}

  /// Ends the batch and restores what was before.
  virtual void end_batch() {}
};

/// Keeps a batch going while it lives. `Batched` is an Objective or a CompiledFunction.
template <typename Batched>
class BatchScope {
 public:
  BatchScope(Batched& batched, const std::vector<BatchedInput>& inputs) : batched_(&batched) {
    batched.begin_batch(inputs);
  }
  ~BatchScope() {
    if (batched_ != nullptr) batched_->end_batch();
  }
  BatchScope(const BatchScope&) = delete;
  BatchScope& operator=(const BatchScope&) = delete;

  /// Lets the batch go on after the scope.
  void keep() { batched_ = nullptr; }

 private:
  Batched* batched_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_
