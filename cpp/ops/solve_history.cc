#include "ops/solve_history.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "tensorflow/core/util/batch_util.h"

namespace tfminimize {

using tensorflow::Tensor;

namespace {

std::ptrdiff_t to_offset(std::size_t i) { return static_cast<std::ptrdiff_t>(i); }

}  // namespace

bool SolveHistory::call(Span<const double> x, double f, Span<const double> g) {
  inputs_.set(x);
  Tensor gradient(tensorflow::DT_DOUBLE, {static_cast<std::int64_t>(g.size())});
  std::copy(g.begin(), g.end(), gradient.flat<double>().data());
  const std::vector<Tensor>& fixed = inputs_.tensors();
  std::vector<Tensor> inputs{fixed.front(), Tensor(f), std::move(gradient)};
  inputs.insert(inputs.end(), state_.begin(), state_.end());
  inputs.insert(inputs.end(), fixed.begin() + 1, fixed.end());
  const std::vector<Tensor>& results = function_->call(inputs);
  check_shape(results[0], {}, "whether to end the solve");
  const auto first = results.begin() + 1;
  const auto traced = first + to_offset(state_.size());
  for (std::size_t i = 0; i < state_.size(); ++i) check_shape(first[to_offset(i)], state_[i].shape(), "its state");
  for (std::size_t i = 0; i < shapes_.size(); ++i) check_shape(traced[to_offset(i)], shapes_[i], "what it traces");
  state_.assign(first, traced);
  rows_.emplace_back(traced, results.end());
  const bool stop = results[0].scalar<bool>()();
  function_->forget();
  return stop;
}

void SolveHistory::check_shape(const Tensor& result, const tensorflow::TensorShape& shape, const char* meaning) const {
  if (result.shape() == shape) return;
  fail(function_->name(), " returned a tensor of shape ", result.shape().DebugString(), " for ", meaning,
       ": it must be ", shape.DebugString(), ".");
}

void SolveHistory::stack(std::size_t i, Tensor& stacked) const {
  for (std::size_t k = 0; k < rows_.size(); ++k) {
    check(tensorflow::batch_util::CopyElementToSlice(rows_[k][i], &stacked, static_cast<std::int64_t>(k)));
  }
}

}  // namespace tfminimize
