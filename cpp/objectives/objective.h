#ifndef TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_
#define TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_

#include <cstddef>
#include <stdexcept>
#include <vector>

#include "objectives/batched_input.h"
#include "solvers/span.h"

namespace tfminimize {

/// Where an objective of n variables and m constraints writes its results. Without constraints only `gradient` is used.
///
///     jacobian[i * stride + j] = ∂c_i/∂x_j
struct Buffers {
  Span<double> gradient;     ///< [n], 64-byte aligned
  Span<double> constraints;  ///< [m]
  Span<double> jacobian;     ///< [m * stride]
  std::size_t stride = 0;    ///< At least n.
};

/// A function f to minimise and the functions c that constrain it, with their derivatives; there may be no c.
///
/// x: [n], 64-byte aligned; it overlaps none of the buffers. What the functions throw comes through, and what they were
/// to write is then of no use. One object evaluates in one thread at a time; several objects may run at once.
class Objective {
 public:
  Objective() = default;
  virtual ~Objective() = default;
  Objective(const Objective&) = delete;
  Objective& operator=(const Objective&) = delete;

  /// Returns f(x), writes c(x) and the derivatives at x.
  virtual double evaluate(Span<const double> x, const Buffers& to) {
    const double f = values(x, to);
    derivatives(x, to);
    return f;
  }

  /// Returns f(x) and writes c(x). The derivatives stay what they were.
  virtual double values(Span<const double> x, const Buffers& to) = 0;

  /// Writes the derivatives at x, where the values have been evaluated already.
  virtual void derivatives(Span<const double> x, const Buffers& to) = 0;

  /// Whether evaluate() takes less time than the two others. Then it is called if derivatives will most likely be
  /// needed, and derivatives may be evaluated that the solver has not asked for.
  virtual bool is_joint() const = 0;

  /// Asks the evaluation that another thread is in to end early with an exception, if that is possible. Without effect
  /// on later evaluations. May be called at any time, from any thread.
  virtual void cancel() {}

  /// Begins a batch. Many batches may run at once, so from now on an evaluation uses only the thread that calls it, as
  /// far as it can. select() chooses the values of these inputs. Throws std::invalid_argument for inputs that the
  /// objective does not have, and then changes nothing.
  virtual void begin_batch(const std::vector<BatchedInput>& inputs) {
    if (!inputs.empty()) throw std::invalid_argument("This objective has no inputs besides x.");
  }

  /// From now on evaluates this problem of the batch.
  virtual void select(std::size_t /*problem*/) {}

  /// Ends the batch: all is as it was before.
  virtual void end_batch() {}
};

/// A batch, as long as it lives. `Batched` is an Objective or what it is made of.
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

  /// The batch goes on after the scope.
  void keep() { batched_ = nullptr; }

 private:
  Batched* batched_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_
