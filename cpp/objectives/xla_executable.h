#ifndef TFMINIMIZE_OBJECTIVES_XLA_EXECUTABLE_H_
#define TFMINIMIZE_OBJECTIVES_XLA_EXECUTABLE_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "objectives/components.h"
#include "objectives/objective.h"
#include "xla/xla_function.h"

namespace tfminimize {

/// The machine code that XLA has made of a function: no TensorFlow between it and the solver.
///
/// Its results are the loss, a scalar, and one gradient for each component, of its dtype and size. It reads x and
/// writes the gradients of doubles in place.
///
/// One object evaluates in one thread at a time, which its user sees to; several objects may run at once.
class XlaExecutable final : public Objective {
 public:
  /// Throws std::invalid_argument for components, inputs and outputs that are not those of the program.
  XlaExecutable(XlaOptions options, std::vector<Component> components, TF_DataType loss_dtype);

  /// Throws std::runtime_error with the error of XLA.
  double evaluate(Span<const double> x, Span<double> g) override;

  void begin_batch(const std::vector<BatchedInput>& inputs) override { function_.begin_batch(inputs); }
  void select(std::size_t problem) override { function_.select(problem); }
  void end_batch() override { function_.end_batch(); }

  /// Replaces a tensor that is passed as it is by another of the same dtype and size.
  void set_input(std::size_t position, HostTensor tensor) { function_.set_input(position, std::move(tensor)); }

  /// Seconds of one evaluation, the mean of `count` in a bare loop.
  double repeat(Span<const double> x, Span<double> g, std::int64_t count);

  /// The address that the program reads for the input at `position`.
  const void* input_address(Span<const double> x, std::size_t position) const {
    components_.check_size(x.size());
    return function_.input_address(x, position);
  }

 private:
  Components components_;
  XlaFunction function_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_XLA_EXECUTABLE_H_
