#ifndef TFMINIMIZE_OBJECTIVES_VECTOR_OBJECTIVE_H_
#define TFMINIMIZE_OBJECTIVES_VECTOR_OBJECTIVE_H_

#include <cstddef>
#include <vector>

#include "objectives/batched_input.h"
#include "objectives/objective.h"
#include "solvers/span.h"

namespace tfminimize {

/// One of several problems that are evaluated together.
struct ProblemPoint {
  std::size_t problem = 0;  ///< Its number in the batch.
  Span<const double> x;
  Buffers to;
  double f = 0;  ///< The result.
};

/// An objective that evaluates several problems of a batch in one call. Each has its own x and its own values of the
/// batched inputs, and none depends on another.
class VectorObjective : public Objective {
 public:
  /// How many problems one call can evaluate; at least 1.
  virtual std::size_t capacity() const = 0;

  /// Evaluates values and derivatives of at least one problem. If it throws, all results are undefined.
  virtual void evaluate_all(Span<ProblemPoint> points) = 0;

  /// Begins a batch, see Objective::begin_batch(). If no other runs at the same time, evaluations may use many threads.
  virtual void begin(const std::vector<BatchedInput>& inputs, bool is_alone) = 0;

  void begin_batch(const std::vector<BatchedInput>& inputs) final { begin(inputs, false); }
  void select(std::size_t problem) final { selected_ = problem; }
  double evaluate(Span<const double> x, const Buffers& to) final {
    ProblemPoint point{selected_, x, to, 0};
    evaluate_all({&point, 1});
    return point.f;
  }
  double values(Span<const double> x, const Buffers& to) final { return evaluate(x, to); }
  void derivatives(Span<const double> x, const Buffers& to) final { evaluate(x, to); }
  bool is_joint() const final { return true; }

 private:
  std::size_t selected_ = 0;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_VECTOR_OBJECTIVE_H_
