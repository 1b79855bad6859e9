#include "solvers/memory.h"

#include <cstdio>
#include <string>

#include "solvers/machine.h"

namespace tfminimize::solvers {

std::string gigabytes(double bytes) {
  char text[32];
  const int length = std::snprintf(text, sizeof text, "%.3g GB", bytes / 1e9);
  return {text, static_cast<std::size_t>(length)};
}

void check_memory(const MemoryNeed& need, const std::function<std::string(double bytes)>& remedy) {
  constexpr double kLittle = 1 << 24;  // A look at the free memory would take longer than a small solve.
  const double bytes = need.bytes * static_cast<double>(need.count);
  if (bytes <= kLittle) return;
  const double free = available_memory();
  if (bytes <= free) return;
  const std::string threads = need.count == 1 ? "" : ", in " + std::to_string(need.count) + " threads,";
  throw OutOfMemory(need.solver + threads + " with " + need.sizes + " needs " + gigabytes(bytes) +
                    " of memory, and this machine has " + gigabytes(free) +
                    " free: " + remedy(free / static_cast<double>(need.count)));
}

}  // namespace tfminimize::solvers
