#ifndef TFMINIMIZE_OPS_KERNEL_VALUES_H_
#define TFMINIMIZE_OPS_KERNEL_VALUES_H_

#include <cstddef>
#include <limits>
#include <vector>

#include "ops/function_library.h"
#include "solvers/bfgs/bfgs.h"
#include "solvers/span.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace tfminimize {

// The inputs and outputs of a kernel, by name. All throw StatusError with that name.

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

const tensorflow::Tensor& input(tensorflow::OpKernelContext& context, const char* name);

Span<const double> vector_input(tensorflow::OpKernelContext& context, const char* name);

/// A number that is not NaN and at least `least`.
double number_input(tensorflow::OpKernelContext& context, const char* name, double least = -kInfinity);

/// A matrix of n rows and columns that is symmetric, up to what NumPy's allclose() allows, and positive definite. None
/// if the input has the shape [0, 0].
solvers::DenseMatrix inverse_hessian_input(tensorflow::OpKernelContext& context, const char* name, std::size_t n);

std::vector<tensorflow::Tensor> list_input(tensorflow::OpKernelContext& context, const char* name);

/// The memory of an output of this shape.
template <typename T>
Span<T> output(tensorflow::OpKernelContext& context, const char* name, const tensorflow::TensorShape& shape) {
  tensorflow::Tensor* tensor = nullptr;
  check(context.allocate_output(name, shape, &tensor));
  return {tensor->flat<T>().data(), static_cast<std::size_t>(tensor->NumElements())};
}

template <typename T>
void set_scalar(tensorflow::OpKernelContext& context, const char* name, T value) {
  output<T>(context, name, {})[0] = std::move(value);
}

/// Throws unless each pair of bounds is such that a finite value satisfies both. `place` names one of them.
template <typename Place>
void check_bounds(Span<const double> lower, Span<const double> upper, const Place& place) {
  for (std::size_t i = 0; i < lower.size(); ++i) {
    if (lower[i] <= upper[i] && lower[i] < kInfinity && upper[i] > -kInfinity) continue;
    fail("the bounds for ", place(i), " are (", lower[i], ", ", upper[i],
         "): the lower must not be greater than the upper, and a finite value must satisfy both.");
  }
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_KERNEL_VALUES_H_
