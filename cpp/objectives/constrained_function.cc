#include "objectives/constrained_function.h"

#include <utility>

namespace tfminimize {

ConstrainedFunction::ConstrainedFunction(const TfeApi& api, TFE_Context* context, FunctionOptions values,
                                         FunctionOptions derivatives, std::vector<Component> components,
                                         const ConstrainedOutputs& outputs, std::vector<ConstraintRow> rows)
    : api_(api),
      components_(std::move(components)),
      values_(api, context, components_, std::move(values), loss_and_values(outputs)),
      derivatives_(api, context, components_, std::move(derivatives), values_and_derivatives(outputs, components_)),
      rows_(std::move(rows), outputs.num_values) {}

void ConstrainedFunction::begin(Part part, Span<const double> x) {
  last_ = part;
  components_.stage(x);
}

double ConstrainedFunction::evaluate_values(Span<const double> x, Span<double> c) {
  components_.check_size(x.size());
  rows_.check_constraints(c.size());
  begin(Part::kValues, x);
  const FunctionCall::Results results(values_, x);
  const double loss = results.scalar(0);
  rows_.write_constraints(results, c);
  return loss;
}

void ConstrainedFunction::evaluate_derivatives(Span<const double> x, const Derivatives& derivatives) {
  components_.check_size(x.size());
  rows_.check_derivatives(derivatives, components_);
  begin(Part::kDerivatives, x);
  rows_.write_derivatives(FunctionCall::Results(derivatives_, x), components_, derivatives);
}

double ConstrainedFunction::evaluate(Span<const double> x, Span<double> c, const Derivatives& derivatives) {
  components_.check_size(x.size());
  rows_.check_constraints(c.size());
  rows_.check_derivatives(derivatives, components_);
  begin(Part::kDerivatives, x);
  const FunctionCall::Results results(derivatives_, x);
  const double loss = results.scalar(0);
  rows_.write_constraints(results, c);
  rows_.write_derivatives(results, components_, derivatives);
  return loss;
}

void ConstrainedFunction::cancel() {
  values_.cancel();
  derivatives_.cancel();
}

void ConstrainedFunction::begin_batch(const std::vector<BatchedInput>& inputs) {
  tfminimize::begin_batch(values_, derivatives_, inputs);
}

void ConstrainedFunction::select(std::size_t problem) {
  values_.select(problem);
  derivatives_.select(problem);
}

void ConstrainedFunction::end_batch() {
  values_.end_batch();
  derivatives_.end_batch();
}

void ConstrainedFunction::set_input(std::size_t position, const TensorHandle& tensor) {
  values_.check_input(position, tensor);
  derivatives_.check_input(position, tensor);
  TensorHandle for_values = share(api_, tensor.get());
  TensorHandle for_derivatives = share(api_, tensor.get());
  values_.set_input(position, std::move(for_values));
  derivatives_.set_input(position, std::move(for_derivatives));
}

double ConstrainedFunction::repeat(Part part, Span<const double> x, std::int64_t count) {
  components_.check_size(x.size());
  begin(part, x);
  return function(part).repeat(x, count);
}

const void* ConstrainedFunction::input_address(Part part, Span<const double> x, std::size_t position) {
  components_.check_size(x.size());
  last_ = part;
  return function(part).input_address(x, position);
}

}  // namespace tfminimize
