#include "objectives/host_objective.h"

#include <stdexcept>
#include <utility>

namespace tfminimize {

HostObjective::HostObjective(Values all) : values_(std::move(all)) {
  if (!values_) throw std::invalid_argument("A HostObjective needs a function.");
}

HostObjective::HostObjective(Values values, Derivatives derivatives)
    : values_(std::move(values)), derivatives_(std::move(derivatives)) {
  if (!values_ || !derivatives_) throw std::invalid_argument("A HostObjective needs functions that are not empty.");
}

}  // namespace tfminimize
