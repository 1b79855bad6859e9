#include "ops/kernel_values.h"

#include <cstdint>
#include <memory>

#include "Eigen/Cholesky"

namespace tfminimize {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

const Tensor& input(OpKernelContext& context, const char* name) {
  const Tensor* tensor = nullptr;
  check(context.input(name, &tensor));
  return *tensor;
}

Span<const double> vector_input(OpKernelContext& context, const char* name) {
  const Tensor& tensor = input(context, name);
  if (tensor.dims() != 1) fail(name, " must be a vector, but has shape ", tensor.shape().DebugString(), ".");
  return {tensor.flat<double>().data(), static_cast<std::size_t>(tensor.NumElements())};
}

double number_input(OpKernelContext& context, const char* name, double least) {
  const Tensor& tensor = input(context, name);
  if (tensor.dims() != 0) fail(name, " must be a scalar, but has shape ", tensor.shape().DebugString(), ".");
  const double value = tensor.scalar<double>()();
  if (!(value >= least)) {
    fail(name, " is ", value, ": it must be a number", least == 0 ? ", 0 or greater." : ".");
  }
  return value;
}

solvers::DenseMatrix inverse_hessian_input(OpKernelContext& context, const char* name, std::size_t n) {
  const Tensor& tensor = input(context, name);
  if (tensor.dims() == 2 && tensor.NumElements() == 0) return {};
  const auto size = static_cast<std::int64_t>(n);
  if (tensor.shape() != tensorflow::TensorShape({size, size})) {
    fail(name, " has shape ", tensor.shape().DebugString(),
         ": it must be a matrix with a row and a column for each of ", n, " elements of x0.");
  }
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const double* data = tensor.flat<double>().data();
  const Eigen::Map<const Matrix> matrix(data, size, size);
  if (!matrix.allFinite()) fail(name, " holds a number that is not finite: give an inverse Hessian.");
  const auto difference = (matrix - matrix.transpose()).array().abs();
  if ((difference > 1e-8 + 1e-5 * matrix.array().abs()).any()) fail(name, " is not symmetric: give (H + Hᵀ) / 2.");
  if (Eigen::LLT<Matrix>(matrix).info() != Eigen::Success) {
    fail(name, " is not positive definite: add a multiple of the identity.");
  }
  return {std::shared_ptr<const double>(std::shared_ptr<void>(), data), n, n};  // the context owns it
}

std::vector<Tensor> list_input(OpKernelContext& context, const char* name) {
  tensorflow::OpInputList list;
  check(context.input_list(name, &list));
  return {list.begin(), list.end()};
}

}  // namespace tfminimize
