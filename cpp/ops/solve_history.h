#ifndef TFMINIMIZE_OPS_SOLVE_HISTORY_H_
#define TFMINIMIZE_OPS_SOLVE_HISTORY_H_

#include <vector>

#include "ops/function_library.h"
#include "solvers/span.h"
#include "tensorflow/core/framework/tensor.h"

namespace tfminimize {

/// What a function returns along the way of a solve,
///
///     function (x [n], value [], gradient [n], state..., captures...) -> (whether to end, state..., traced...)
class SolveHistory {
 public:
  /// `function` may be null; it and `inputs` must outlive the object. `shapes` are those of what is traced; all static.
  SolveHistory(LibraryFunction* function, FunctionInputs& inputs, std::vector<tensorflow::Tensor> state,
               const std::vector<tensorflow::PartialTensorShape>& shapes)
      : function_(function), inputs_(inputs), state_(std::move(state)) {
    for (const tensorflow::PartialTensorShape& shape : shapes) {
      shapes_.emplace_back();
      shape.AsTensorShape(&shapes_.back());
    }
  }

  bool has_function() const { return function_ != nullptr; }

  /// Calls the function. Returns whether it asks to end the solve. Throws StatusError.
  bool call(Span<const double> x, double f, Span<const double> g);

  /// How often the function was called.
  std::size_t size() const { return rows_.size(); }

  /// The shape of traced result `i`, stacked along a new first axis. Throws StatusError.
  tensorflow::TensorShape stacked_shape(std::size_t i) const {
    tensorflow::TensorShape shape = shapes_[i];
    check(shape.InsertDimWithStatus(0, static_cast<std::int64_t>(size())));
    return shape;
  }

  /// Writes that stack into a tensor of that shape. Throws StatusError.
  void stack(std::size_t i, tensorflow::Tensor& stacked) const;

 private:
  void check_shape(const tensorflow::Tensor& result, const tensorflow::TensorShape& shape, const char* meaning) const;

  LibraryFunction* function_;
  FunctionInputs& inputs_;
  std::vector<tensorflow::Tensor> state_;
  std::vector<tensorflow::TensorShape> shapes_;
  std::vector<std::vector<tensorflow::Tensor>> rows_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_SOLVE_HISTORY_H_
