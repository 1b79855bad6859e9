#ifndef TFMINIMIZE_OBJECTIVES_EVALUATOR_H_
#define TFMINIMIZE_OBJECTIVES_EVALUATOR_H_

#include <cstddef>

namespace tfminimize {

/// What all objectives have in common: it evaluates, can perhaps be asked to end early, and may serve a batch of
/// problems.
class Evaluator {
 public:
  Evaluator() = default;
  virtual ~Evaluator() = default;
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  /// Asks the evaluation that another thread is in to end early with an exception, where that is possible. Without
  /// effect on later evaluations. May be called at any time, from any thread.
  virtual void cancel() {}

  /// From now on evaluates this problem of the batch: takes its slices of the inputs that differ from problem to
  /// problem. Without effect where there are none.
  virtual void select(std::size_t /*problem*/) {}
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_EVALUATOR_H_
