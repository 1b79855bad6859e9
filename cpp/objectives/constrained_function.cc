#include "objectives/constrained_function.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace tfminimize {
namespace {

std::vector<Output> value_outputs(const ConstrainedOutputs& outputs) {
  std::vector<Output> result{{"loss", outputs.loss_dtype, 1}};
  if (outputs.num_values > 0) result.push_back({"vector of constraints", outputs.values_dtype, outputs.num_values});
  return result;
}

std::vector<Output> derivative_outputs(const ConstrainedOutputs& outputs, const Components& components) {
  std::vector<Output> result = value_outputs(outputs);
  for (std::size_t i = 0; i < components.count(); ++i) {
    result.push_back({"gradient of component " + std::to_string(i), components.dtype(i), components.size(i)});
  }
  if (outputs.num_values == 0) return result;
  for (std::size_t i = 0; i < components.count(); ++i) {
    std::size_t size = 0;
    if (__builtin_mul_overflow(outputs.num_values, components.size(i), &size)) {
      throw std::invalid_argument("The Jacobian by component " + std::to_string(i) +
                                  " has more elements than memory can hold.");
    }
    result.push_back({"Jacobian by component " + std::to_string(i), components.dtype(i), size});
  }
  return result;
}

void check_rows(std::vector<ConstraintRow> rows, std::size_t num_values) {
  for (const ConstraintRow& row : rows) {
    if (row.source >= num_values) {
      throw std::invalid_argument("Row " + std::to_string(row.row) + " is made of value " + std::to_string(row.source) +
                                  ", and there are only " + std::to_string(num_values) + ".");
    }
    if (std::abs(row.sign) != 1 || !std::isfinite(row.offset)) {
      throw std::invalid_argument("Row " + std::to_string(row.row) + " has the sign " + std::to_string(row.sign) +
                                  " and the offset " + std::to_string(row.offset) +
                                  "; they must be 1 or -1, and finite.");
    }
  }
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.row < b.row; });
  const auto twice =
      std::adjacent_find(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.row == b.row; });
  if (twice != rows.end()) throw std::invalid_argument("Row " + std::to_string(twice->row) + " is given twice.");
}

}  // namespace

ConstrainedFunction::ConstrainedFunction(const TfeApi& api, TFE_Context* context, FunctionOptions values,
                                         FunctionOptions derivatives, std::vector<Component> components,
                                         const ConstrainedOutputs& outputs, std::vector<ConstraintRow> rows)
    : api_(api),
      components_(api, context, std::move(components)),
      values_(api, context, components_, std::move(values), value_outputs(outputs)),
      derivatives_(api, context, components_, std::move(derivatives), derivative_outputs(outputs, components_)),
      num_values_(outputs.num_values) {
  set_rows(std::move(rows));
}

void ConstrainedFunction::set_rows(std::vector<ConstraintRow> rows) {
  check_rows(rows, num_values_);
  rows_ = std::move(rows);
  required_rows_ = 0;
  for (const ConstraintRow& row : rows_) required_rows_ = std::max(required_rows_, row.row + 1);
}

void ConstrainedFunction::begin(Part part, Span<const double> x) {
  last_ = part;
  components_.stage(x);
}

double ConstrainedFunction::evaluate_values(Span<const double> x, Span<double> c) {
  components_.check_size(x.size());
  check_constraints(c.size());
  begin(Part::kValues, x);
  const FunctionCall::Results results(values_, x);
  const double loss = results.scalar(0);
  write_constraints(results, c);
  return loss;
}

void ConstrainedFunction::evaluate_derivatives(Span<const double> x, const Derivatives& derivatives) {
  components_.check_size(x.size());
  check_derivatives(derivatives);
  begin(Part::kDerivatives, x);
  write_derivatives(FunctionCall::Results(derivatives_, x), derivatives);
}

double ConstrainedFunction::evaluate(Span<const double> x, Span<double> c, const Derivatives& derivatives) {
  components_.check_size(x.size());
  check_constraints(c.size());
  check_derivatives(derivatives);
  begin(Part::kDerivatives, x);
  const FunctionCall::Results results(derivatives_, x);
  const double loss = results.scalar(0);
  write_constraints(results, c);
  write_derivatives(results, derivatives);
  return loss;
}

void ConstrainedFunction::cancel() {
  values_.cancel();
  derivatives_.cancel();
}

void ConstrainedFunction::check_constraints(std::size_t size) const {
  if (size < required_rows_) {
    throw std::invalid_argument("c has " + std::to_string(size) + " elements, and the rows end at " +
                                std::to_string(required_rows_) + ".");
  }
}

void ConstrainedFunction::check_derivatives(const Derivatives& derivatives) const {
  components_.check_size(derivatives.gradient.size());
  components_.check_size(derivatives.stride);
  if (derivatives.jacobian.size() < required_rows_ * derivatives.stride) {
    throw std::invalid_argument("The Jacobian has " + std::to_string(derivatives.jacobian.size()) +
                                " elements, and the rows end at " +
                                std::to_string(required_rows_ * derivatives.stride) + ".");
  }
}

void ConstrainedFunction::write_constraints(const FunctionCall::Results& results, Span<double> c) const {
  if (num_values_ == 0) return;
  results.read(1, [&](const auto* source) {
    for (const ConstraintRow& row : rows_) {
      c[row.row] = row.sign * static_cast<double>(source[row.source]) + row.offset;
    }
  });
}

void ConstrainedFunction::write_derivatives(const FunctionCall::Results& results,
                                            const Derivatives& derivatives) const {
  const std::size_t count = components_.count();
  const std::size_t first_gradient = num_values_ == 0 ? 1 : 2;
  for (std::size_t i = 0; i < count; ++i) {
    results.copy(first_gradient + i, derivatives.gradient.data() + components_.offset(i));
  }
  if (num_values_ == 0) return;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size = components_.size(i);
    double* const target = derivatives.jacobian.data() + components_.offset(i);
    results.read(first_gradient + count + i, [&](const auto* source) {
      for (const ConstraintRow& row : rows_) {
        const auto* from = source + row.source * size;
        std::transform(from, from + size, target + row.row * derivatives.stride,
                       [sign = row.sign](auto value) { return sign * static_cast<double>(value); });
      }
    });
  }
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
