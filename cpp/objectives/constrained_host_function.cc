#include "objectives/constrained_host_function.h"

#include <stdexcept>
#include <utility>

namespace tfminimize {

ConstrainedHostFunction::ConstrainedHostFunction(Values values, Differentiate differentiate)
    : values_(std::move(values)), differentiate_(std::move(differentiate)) {
  if (!values_ || !differentiate_) {
    throw std::invalid_argument("A ConstrainedHostFunction needs two functions, and was given less.");
  }
}

}  // namespace tfminimize
