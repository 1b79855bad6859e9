#include "ops/solve_trace.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "tensorflow/core/util/batch_util.h"

namespace tfminimize {

using tensorflow::Tensor;

bool SolveTrace::call(Span<const double> x, double f, Span<const double> g) {
  inputs_.set(x);
  Tensor gradient(tensorflow::DT_DOUBLE, {static_cast<std::int64_t>(g.size())});
  std::copy(g.begin(), g.end(), gradient.flat<double>().data());
  const std::vector<Tensor>& fixed = inputs_.tensors();
  std::vector<Tensor> inputs{fixed.front(), Tensor(f), std::move(gradient)};
  inputs.insert(inputs.end(), state_.begin(), state_.end());
  inputs.insert(inputs.end(), fixed.begin() + 1, fixed.end());
  const std::vector<Tensor>& results = function_->call(inputs);
  if (results[0].dims() != 0) {
    fail("The trace function must return a scalar first, which ends the solve if it is true.");
  }
  const auto first = results.begin() + 1;
  const auto traced = first + static_cast<std::ptrdiff_t>(state_.size());
  state_.assign(first, traced);
  rows_.emplace_back(traced, results.end());
  const bool stop = results[0].scalar<bool>()();
  function_->forget();
  return stop;
}

void SolveTrace::stack(std::size_t i, Tensor& stacked) const {
  tensorflow::TensorShape shape = stacked.shape();
  shape.RemoveDim(0);
  for (std::size_t k = 0; k < rows_.size(); ++k) {
    const Tensor& row = rows_[k][i];
    if (row.shape() != shape) {
      fail("The trace function returned a tensor of shape ", row.shape().DebugString(), " where it must have ",
           shape.DebugString(), ".");
    }
    check(tensorflow::batch_util::CopyElementToSlice(row, &stacked, static_cast<std::int64_t>(k)));
  }
}

}  // namespace tfminimize
