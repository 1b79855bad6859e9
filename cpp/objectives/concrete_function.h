#ifndef TFMINIMIZE_OBJECTIVES_CONCRETE_FUNCTION_H_
#define TFMINIMIZE_OBJECTIVES_CONCRETE_FUNCTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "objectives/components.h"
#include "objectives/objective.h"
#include "tfe/function_call.h"
#include "tfe/tfe_api.h"

namespace tfminimize {

/// A concrete function of TensorFlow.
///
/// Its outputs are the loss, a scalar, and one gradient for each component, of its dtype and size:
///
///     x:  [ component 0 | pad | component 1 | pad | ... ]
///           |  see Components
///           v
///     inputs of the function: components, arguments, captured tensors and resources, in the order of its signature
///           |
///           v
///     outputs: loss, gradient 0, gradient 1, ...  ->  g, at the offsets of the components
///
/// One object evaluates in one thread at a time, which its user sees to; several objects may run at once.
class ConcreteFunction final : public Objective {
 public:
  /// `api` must outlive the object. Throws std::invalid_argument for components and inputs that cannot be passed, and
  /// TensorFlowError for a function that TensorFlow does not know.
  ConcreteFunction(const TfeApi& api, TFE_Context* context, FunctionOptions options, std::vector<Component> components,
                   TF_DataType loss_dtype);

  /// Throws TensorFlowError with the error of the function.
  double evaluate(Span<const double> x, Span<double> g) override;

  void cancel() override { function_.cancel(); }
  void begin_batch(const std::vector<BatchedInput>& inputs) override { function_.begin_batch(inputs); }
  void select(std::size_t problem) override { function_.select(problem); }
  void end_batch() override { function_.end_batch(); }

  /// Replaces a tensor that is passed as it is by another of the same dtype.
  void set_input(std::size_t position, TensorHandle tensor) { function_.set_input(position, std::move(tensor)); }

  /// What keeps the memory of x alive as long as TensorFlow holds a tensor made of it.
  void set_owner(std::shared_ptr<const void> owner) { function_.set_owner(std::move(owner)); }

  /// How the function is called: the faster way, as far as it is known.
  Dispatch dispatch() const { return function_.dispatch(); }

  /// Seconds of one evaluation, the mean of `count` in a bare loop of the same calls of TensorFlow, which gathers
  /// nothing: what evaluate() is measured by.
  double repeat(Span<const double> x, std::int64_t count);

  /// The address that TensorFlow reads for the input at `position`, which must be a component.
  const void* input_address(Span<const double> x, std::size_t position);

 private:
  Components components_;
  FunctionCall function_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_CONCRETE_FUNCTION_H_
