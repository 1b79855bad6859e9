#include "objectives/outputs.h"

#include <stdexcept>
#include <string>

namespace tfminimize {
namespace {

void add_gradients(const Components& components, std::vector<Output>& outputs) {
  for (std::size_t i = 0; i < components.count(); ++i) {
    outputs.push_back({"gradient of component " + std::to_string(i), components.dtype(i), components.size(i)});
  }
}

}  // namespace

std::vector<Output> loss_and_gradients(const Components& components, TF_DataType loss_dtype) {
  std::vector<Output> outputs{{"loss", loss_dtype, 1}};
  add_gradients(components, outputs);
  return outputs;
}

std::vector<Output> loss_and_values(const ConstrainedOutputs& outputs) {
  std::vector<Output> result{{"loss", outputs.loss_dtype, 1}};
  if (outputs.num_values > 0) result.push_back({"vector of constraints", outputs.values_dtype, outputs.num_values});
  return result;
}

std::vector<Output> values_and_derivatives(const ConstrainedOutputs& outputs, const Components& components) {
  std::vector<Output> result = loss_and_values(outputs);
  add_gradients(components, result);
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

}  // namespace tfminimize
