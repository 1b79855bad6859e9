#include "objectives/constrained_xla_executable.h"

#include <utility>

namespace tfminimize {

ConstrainedXlaExecutable::ConstrainedXlaExecutable(XlaOptions values, XlaOptions derivatives,
                                                   std::vector<Component> components, const ConstrainedOutputs& outputs,
                                                   std::vector<ConstraintRow> rows)
    : components_(std::move(components)),
      values_(components_, std::move(values), loss_and_values(outputs)),
      derivatives_(components_, std::move(derivatives), values_and_derivatives(outputs, components_)),
      rows_(std::move(rows), outputs.num_values) {}

double ConstrainedXlaExecutable::evaluate_values(Span<const double> x, Span<double> c) {
  components_.check_size(x.size());
  rows_.check_constraints(c.size());
  components_.stage(x);
  values_.run(x);
  rows_.write_constraints(values_, c);
  return values_.scalar(0);
}

void ConstrainedXlaExecutable::evaluate_derivatives(Span<const double> x, const Derivatives& derivatives) {
  components_.check_size(x.size());
  rows_.check_derivatives(derivatives, components_);
  run_derivatives(x, derivatives);
}

double ConstrainedXlaExecutable::evaluate(Span<const double> x, Span<double> c, const Derivatives& derivatives) {
  components_.check_size(x.size());
  rows_.check_constraints(c.size());
  rows_.check_derivatives(derivatives, components_);
  run_derivatives(x, derivatives);
  rows_.write_constraints(derivatives_, c);
  return derivatives_.scalar(0);
}

void ConstrainedXlaExecutable::run_derivatives(Span<const double> x, const Derivatives& derivatives) {
  components_.stage(x);
  for (std::size_t i = 0; i < components_.count(); ++i) {
    derivatives_.place(rows_.first_gradient() + i, derivatives.gradient.data() + components_.offset(i));
  }
  derivatives_.run(x);
  rows_.write_derivatives(derivatives_, components_, derivatives);
}

void ConstrainedXlaExecutable::begin_batch(const std::vector<BatchedInput>& inputs) {
  tfminimize::begin_batch(values_, derivatives_, inputs);
}

void ConstrainedXlaExecutable::select(std::size_t problem) {
  values_.select(problem);
  derivatives_.select(problem);
}

void ConstrainedXlaExecutable::end_batch() {
  values_.end_batch();
  derivatives_.end_batch();
}

void ConstrainedXlaExecutable::set_input(std::size_t position, const HostTensor& tensor) {
  values_.check_input(position, tensor);
  derivatives_.check_input(position, tensor);
  values_.set_input(position, tensor);
  derivatives_.set_input(position, tensor);
}

}  // namespace tfminimize
