#include "solvers/memory.h"

#include <unistd.h>

#include <cstdio>
#include <string>

namespace tfminimize::solvers {

std::string gigabytes(double bytes) {
  char text[32];
  const int length = std::snprintf(text, sizeof text, "%.3g GB", bytes / 1e9);
  return {text, static_cast<std::size_t>(length)};
}

void check_memory(const MemoryNeed& need, const std::string& remedy) {
  const double bytes = sizeof(double) * need.doubles * static_cast<double>(need.count);
  const double present = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (bytes <= present) return;
  const std::string threads = need.count == 1 ? "" : ", in " + std::to_string(need.count) + " threads,";
  throw OutOfMemory(need.solver + threads + " with " + need.sizes + " needs " + gigabytes(bytes) +
                    " of memory, and this machine has " + gigabytes(present) + ": " + remedy);
}

}  // namespace tfminimize::solvers
