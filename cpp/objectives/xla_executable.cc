#include "objectives/xla_executable.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tfminimize {

XlaExecutable::XlaExecutable(XlaOptions options, std::vector<Component> components, TF_DataType loss_dtype)
    : components_(std::move(components)),
      function_(components_, std::move(options), loss_and_gradients(components_, loss_dtype)) {}

double XlaExecutable::evaluate(Span<const double> x, Span<double> g) {
  components_.check_size(std::min(x.size(), g.size()));
  components_.stage(x);
  const std::size_t count = components_.count();
  for (std::size_t i = 0; i < count; ++i) function_.place(i + 1, g.data() + components_.offset(i));
  function_.run(x);
  for (std::size_t i = 0; i < count; ++i) function_.copy(i + 1, g.data() + components_.offset(i));
  return function_.scalar(0);
}

double XlaExecutable::repeat(Span<const double> x, Span<double> g, std::int64_t count) {
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < count; ++i) evaluate(x, g);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / static_cast<double>(count);
}

}  // namespace tfminimize
