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

void check_memory(double bytes, const std::string& user, const std::string& remedy) {
  const double present = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (bytes <= present) return;
  throw OutOfMemory(user + " needs " + gigabytes(bytes) + " of memory, and this machine has " + gigabytes(present) +
                    ": " + remedy);
}

}  // namespace tfminimize::solvers
