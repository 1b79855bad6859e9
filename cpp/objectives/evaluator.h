#ifndef TFMINIMIZE_OBJECTIVES_EVALUATOR_H_
#define TFMINIMIZE_OBJECTIVES_EVALUATOR_H_

#include <cstddef>
#include <stdexcept>
#include <vector>

#include "objectives/batched_input.h"

namespace tfminimize {

/// What all objectives have in common: each evaluates, can perhaps be asked to end early, and may serve a batch of
/// problems that differ in some of its inputs.
class Evaluator {
 public:
  Evaluator() = default;
  virtual ~Evaluator() = default;
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  /// Asks the evaluation that another thread is in to end early with an exception, where that is possible. Without
  /// effect on later evaluations. May be called at any time, from any thread.
  virtual void cancel() {}

  /// Begins a batch, many of which may run beside each other: from now on an evaluation uses no thread but that which
  /// calls, as far as it can, and select() chooses the values of these inputs. Throws std::invalid_argument for inputs
  /// that it does not have, and then changes nothing.
  virtual void begin_batch(const std::vector<BatchedInput>& inputs) {
    if (!inputs.empty()) throw std::invalid_argument("This objective has no inputs besides x.");
  }

  /// From now on evaluates this problem of the batch.
  virtual void select(std::size_t /*problem*/) {}

  /// Ends the batch: all is as it was before.
  virtual void end_batch() {}
};

/// A batch, as long as it lives.
class BatchScope {
 public:
  BatchScope(Evaluator& evaluator, const std::vector<BatchedInput>& inputs) : evaluator_(evaluator) {
    evaluator_.begin_batch(inputs);
  }
  ~BatchScope() { evaluator_.end_batch(); }
  BatchScope(const BatchScope&) = delete;
  BatchScope& operator=(const BatchScope&) = delete;

 private:
  Evaluator& evaluator_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_EVALUATOR_H_
