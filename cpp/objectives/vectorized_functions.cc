#include "objectives/vectorized_functions.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "solvers/padding.h"

namespace tfminimize {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

}  // namespace

VectorizedFunctions::VectorizedFunctions(std::vector<Component> components, const FunctionOutputs& outputs,
                                         const std::vector<MakeFunction>& make, std::vector<std::size_t> sizes,
                                         std::size_t capacity, bool takes_any)
    : one_(std::move(components)),
      components_(one_),
      sizes_(std::move(sizes)),
      capacity_(capacity),
      takes_any_(takes_any),
      rows_({}, outputs.num_values),
      first_gradient_(outputs.num_values > 0 ? 2 : 1),
      held_(capacity, kNone) {
  if (capacity == 0) throw std::invalid_argument("The capacity is 0; it must be at least 1.");
  if (make.size() != (takes_any ? 1 : sizes_.size()) || make.empty()) {
    throw std::invalid_argument(std::to_string(make.size()) + " functions are given, and " +
                                std::to_string(sizes_.size()) + " sizes.");
  }
  if (!std::is_sorted(sizes_.begin(), sizes_.end()) ||
      (!sizes_.empty() && (sizes_.front() == 0 || sizes_.back() != capacity))) {
    throw std::invalid_argument("The sizes must ascend from at least 1 to the capacity.");
  }
  std::size_t end = 0;
  for (std::size_t i = 0; i < components_.count(); ++i) {
    offsets_.push_back(end);
    end += solvers::padded(capacity * components_.size(i));
  }
  x_ = std::make_shared<solvers::AlignedArray<double>>(solvers::AlignedArray<double>::zeros(end));
  for (std::size_t i = 0; i < make.size(); ++i) {
    const std::size_t rows = takes_any ? capacity : sizes_[i];
    functions_.push_back(std::make_unique<Sized>(Sized{Components(stacked(rows)), nullptr}));
    Components& all = functions_.back()->components;
    functions_.back()->function = make[i](
        all, takes_any ? outputs_of_derivatives(outputs, components_) : outputs_of_derivatives(outputs, all, rows));
    functions_.back()->function->set_owner(x_);
  }
}

/// The components of so many problems.
std::vector<Component> VectorizedFunctions::stacked(std::size_t rows) const {
  std::vector<Component> result;
  for (std::size_t i = 0; i < one_.size(); ++i) {
    Component component{offsets_[i], {static_cast<std::int64_t>(rows)}, one_[i].dtype, nullptr};
    component.shape.insert(component.shape.end(), one_[i].shape.begin(), one_[i].shape.end());
    result.push_back(std::move(component));
  }
  return result;
}

VectorizedFunctions::Sized& VectorizedFunctions::function_of(std::size_t rows) {
  if (!takes_any_) {
    return *functions_[std::lower_bound(sizes_.begin(), sizes_.end(), rows) - sizes_.begin()];
  }
  Sized& only = *functions_.front();
  if (rows != present_) {
    only.components.set_rows(rows);
    only.function->set_rows(rows);
    only.version = 0;
    present_ = rows;
  }
  return only;
}

/// Copies x, and the batched inputs that differ from those of the last call, to the rows.
void VectorizedFunctions::gather(Span<const ProblemPoint> points, std::size_t rows) {
  for (std::size_t i = 0; i < rows; ++i) {
    const ProblemPoint& point = points[i < points.size() ? i : 0];
    for (std::size_t c = 0; c < components_.count(); ++c) {
      const std::size_t size = components_.size(c);
      std::copy_n(point.x.data() + components_.offset(c), size, x_->data() + offsets_[c] + i * size);
    }
    if (held_[i] == point.problem) continue;
    for (Gathered& one : inputs_) {
      std::memcpy(one.values.data() + i * one.input.bytes, one.input.value(point.problem), one.input.bytes);
    }
    held_[i] = point.problem;
    ++version_;
  }
}

/// Passes the batched inputs, unless the function has got these already.
void VectorizedFunctions::pass_inputs(Sized& sized, std::size_t rows) {
  if (sized.version == version_) return;
  for (const Gathered& one : inputs_) {
    BatchedInput all = one.input;
    all.shape.insert(all.shape.begin(), static_cast<std::int64_t>(rows));
    all.bytes *= rows;
    all.data = one.values.data();
    sized.function->pass_rows(all);
  }
  sized.version = version_;
}

void VectorizedFunctions::evaluate_all(Span<ProblemPoint> points) {
  if (points.empty() || points.size() > capacity_) {
    throw std::invalid_argument(std::to_string(points.size()) + " problems are to be evaluated; the capacity is " +
                                std::to_string(capacity_) + ".");
  }
  for (const ProblemPoint& point : points) {
    components_.check_size(std::min(point.x.size(), point.to.gradient.size()));
    rows_.check_constraints(point.to.constraints.size());
    rows_.check_jacobian(point.to, components_);
  }
  const std::size_t rows =
      sizes_.empty() ? points.size() : *std::lower_bound(sizes_.begin(), sizes_.end(), points.size());
  gather({points.data(), points.size()}, rows);
  Sized& sized = function_of(rows);
  sized.components.stage({x_->data(), x_->size()});
  pass_inputs(sized, rows);
  const CompiledFunction::Call call(*sized.function, {x_->data(), x_->size()});
  const std::size_t count = components_.count();
  for (std::size_t i = 0; i < points.size(); ++i) {
    ProblemPoint& point = points[i];
    call.read(0, [&](const auto* losses) { point.f = static_cast<double>(losses[i]); });
    for (std::size_t c = 0; c < count; ++c) {
      const std::size_t size = components_.size(c);
      call.read(first_gradient_ + c, [&](const auto* gradients) {
        std::copy_n(gradients + i * size, size, point.to.gradient.data() + components_.offset(c));
      });
    }
    if (first_gradient_ == 1) continue;
    rows_.write_constraints(call, 1, point.to.constraints, i);
    rows_.write_jacobian(call, first_gradient_ + count, components_, point.to, i, rows);
  }
}

void VectorizedFunctions::begin(const std::vector<BatchedInput>& inputs, bool is_alone) {
  std::vector<Gathered> gathered;
  gathered.reserve(inputs.size());
  for (const BatchedInput& input : inputs) {
    gathered.push_back({input, solvers::AlignedArray<std::byte>::zeros(input.bytes * capacity_)});
  }
  if (!is_alone) {
    for (const auto& sized : functions_) sized->function->begin_batch({});
  }
  ends_batches_ = !is_alone;
  inputs_ = std::move(gathered);
  std::fill(held_.begin(), held_.end(), kNone);
  ++version_;
}

void VectorizedFunctions::end_batch() {
  if (ends_batches_) {
    for (const auto& sized : functions_) sized->function->end_batch();
  }
  ends_batches_ = false;
  inputs_.clear();
}

void VectorizedFunctions::cancel() {
  for (const auto& sized : functions_) sized->function->cancel();
}

void VectorizedFunctions::set_input(std::size_t position, const InputTensor& tensor,
                                    std::optional<std::size_t> function) {
  for (std::size_t i = 0; i < functions_.size(); ++i) {
    if (!function || *function == i) functions_[i]->function->set_input(position, tensor);
  }
}

}  // namespace tfminimize
