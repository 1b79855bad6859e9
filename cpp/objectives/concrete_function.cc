#include "objectives/concrete_function.h"

#include <algorithm>
#include <utility>

namespace tfminimize {

ConcreteFunction::ConcreteFunction(const TfeApi& api, TFE_Context* context, FunctionOptions options,
                                   std::vector<Component> components, TF_DataType loss_dtype)
    : components_(std::move(components)),
      function_(api, context, components_, std::move(options), loss_and_gradients(components_, loss_dtype)) {}

double ConcreteFunction::evaluate(Span<const double> x, Span<double> g) {
  components_.check_size(std::min(x.size(), g.size()));
  components_.stage(x);
  const FunctionCall::Results results(function_, x);
  const double loss = results.scalar(0);
  for (std::size_t i = 0; i < components_.count(); ++i) results.copy(i + 1, g.data() + components_.offset(i));
  return loss;
}

double ConcreteFunction::repeat(Span<const double> x, std::int64_t count) {
  components_.check_size(x.size());
  components_.stage(x);
  return function_.repeat(x, count);
}

const void* ConcreteFunction::input_address(Span<const double> x, std::size_t position) {
  components_.check_size(x.size());
  return function_.input_address(x, position);
}

}  // namespace tfminimize
