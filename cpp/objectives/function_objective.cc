#include "objectives/function_objective.h"

#include <algorithm>
#include <list>
#include <stdexcept>
#include <string>
#include <utility>

namespace tfminimize {
namespace {

/// The outputs that both functions begin with.
std::vector<Output> first_outputs(const FunctionOutputs& outputs, std::size_t rows) {
  std::vector<Output> result{{"loss", outputs.loss_dtype, rows}};
  if (outputs.num_values > 0) {
    result.push_back({"vector of constraints", outputs.values_dtype, outputs.num_values * rows});
  }
  return result;
}

/// These outputs and those that both functions end with.
std::vector<Output> with_rest(std::vector<Output> result, const FunctionOutputs& outputs) {
  if (outputs.num_sums > 0) result.push_back({"vector of sums", TF_DOUBLE, outputs.num_sums});
  result.insert(result.end(), outputs.arrays.begin(), outputs.arrays.end());
  return result;
}

std::vector<Output> outputs_of_values(const FunctionOutputs& outputs) {
  return with_rest(first_outputs(outputs, 1), outputs);
}

}  // namespace

std::vector<Output> outputs_of_derivatives(const FunctionOutputs& outputs, const Components& components,
                                           std::size_t rows) {
  std::vector<Output> result = first_outputs(outputs, rows);
  for (std::size_t i = 0; i < components.count(); ++i) {
    result.push_back({"gradient of component " + std::to_string(i), components.dtype(i), components.size(i)});
  }
  if (outputs.num_values == 0) return with_rest(std::move(result), outputs);
  for (std::size_t i = 0; i < components.count(); ++i) {
    std::size_t size = 0;
    if (__builtin_mul_overflow(outputs.num_values, components.size(i), &size)) {
      throw std::invalid_argument("The Jacobian by component " + std::to_string(i) +
                                  " has more elements than memory can hold.");
    }
    result.push_back({"Jacobian by component " + std::to_string(i), components.dtype(i), size});
  }
  return with_rest(std::move(result), outputs);
}

FunctionObjective::FunctionObjective(std::vector<Component> components, const FunctionOutputs& outputs,
                                     const std::vector<MakeFunction>& make, std::vector<ConstraintRow> rows)
    : components_(std::move(components)),
      rows_(std::move(rows), outputs.num_values),
      first_gradient_(outputs.num_values > 0 ? 2 : 1),
      has_values_(outputs.num_values > 0),
      has_more_(outputs.num_values > 0 || outputs.num_sums > 0),
      sums_(outputs.num_sums),
      num_arrays_(outputs.arrays.size()) {
  if (make.empty() || make.size() > 2) {
    throw std::invalid_argument(std::to_string(make.size()) + " functions are given: there must be one or two.");
  }
  std::vector<Output> with_derivatives = outputs_of_derivatives(outputs, components_);
  if (make.size() == 2) functions_.push_back(make.front()(components_, outputs_of_values(outputs)));
  functions_.push_back(make.back()(components_, std::move(with_derivatives)));
  derivatives_ = functions_.back().get();
}

/// Prepares an evaluation with derivatives: checks the memory, stages x, and lets the function write the gradient.
void FunctionObjective::prepare(Span<const double> x, const Buffers& to) {
  components_.check_size(std::min(x.size(), to.gradient.size()));
  rows_.check_jacobian(to, components_);
  components_.stage(x);
  for (std::size_t i = 0; i < components_.count(); ++i) {
    derivatives_->place(first_gradient_ + i, to.gradient.data() + components_.offset(i));
  }
}

/// Writes the constraints and the sums.
void FunctionObjective::write_more_values(const CompiledFunction& function, const CompiledFunction::Call& call,
                                          Span<double> c) {
  if (has_values_) rows_.write_constraints(call, 1, c);
  write_sums(function, call);
}

void FunctionObjective::write_sums(const CompiledFunction& function, const CompiledFunction::Call& call) {
  if (!sums_.empty()) call.copy(function.num_outputs() - num_arrays_ - 1, sums_.data());
}

void FunctionObjective::write_derivatives(const CompiledFunction::Call& call, const Buffers& to) const {
  const std::size_t count = components_.count();
  for (std::size_t i = 0; i < count; ++i) {
    call.copy(first_gradient_ + i, to.gradient.data() + components_.offset(i));
  }
  if (has_values_) rows_.write_jacobian(call, first_gradient_ + count, components_, to);
}

double FunctionObjective::evaluate(Span<const double> x, const Buffers& to) {
  rows_.check_constraints(to.constraints.size());
  prepare(x, to);
  latest_ = derivatives_;
  const CompiledFunction::Call call(*derivatives_, x);
  if (has_more_) write_more_values(*derivatives_, call, to.constraints);
  write_derivatives(call, to);
  return call.scalar(0);
}

double FunctionObjective::values(Span<const double> x, const Buffers& to) {
  components_.check_size(x.size());
  rows_.check_constraints(to.constraints.size());
  components_.stage(x);
  CompiledFunction& function = *functions_.front();
  if (&function == derivatives_) {
    for (std::size_t i = 0; i < components_.count(); ++i) function.place(first_gradient_ + i, nullptr);
  }
  latest_ = &function;
  const CompiledFunction::Call call(function, x);
  if (has_more_) write_more_values(function, call, to.constraints);
  return call.scalar(0);
}

void FunctionObjective::derivatives(Span<const double> x, const Buffers& to) {
  prepare(x, to);
  const CompiledFunction::Call call(*derivatives_, x);
  write_derivatives(call, to);
  write_sums(*derivatives_, call);
}

void FunctionObjective::begin_batch(const std::vector<BatchedInput>& inputs) {
  std::list<BatchScope<CompiledFunction>> begun;  // if one refuses, these end the batches of the others
  for (const auto& function : functions_) begun.emplace_back(*function, inputs);
  for (BatchScope<CompiledFunction>& batch : begun) batch.keep();
}

void FunctionObjective::set_input(std::size_t position, const InputTensor& tensor,
                                  std::optional<std::size_t> function) {
  const auto for_each = [&](const auto& apply) {
    for (std::size_t i = 0; i < functions_.size(); ++i) {
      if (!function || *function == i) apply(*functions_[i]);
    }
  };
  for_each([&](const CompiledFunction& one) { one.check_input(position, tensor); });
  for_each([&](CompiledFunction& one) { one.set_input(position, tensor); });
}

}  // namespace tfminimize
