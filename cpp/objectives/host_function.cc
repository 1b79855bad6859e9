#include "objectives/host_function.h"

#include <stdexcept>
#include <utility>

namespace tfminimize {

HostFunction::HostFunction(Function function) : function_(std::move(function)) {
  if (!function_) throw std::invalid_argument("A HostFunction needs a function, and was given none.");
}

double HostFunction::evaluate(Span<const double> x, Span<double> g) { return function_(x, g); }

}  // namespace tfminimize
