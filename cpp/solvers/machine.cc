#include "solvers/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

namespace tfminimize::solvers {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The first words of a file that are numbers; "max" is infinity. Empty if there is no such file.
std::vector<double> numbers_in(const std::string& path) {
  std::ifstream file(path);
  std::vector<double> numbers;
  for (std::string word; file >> word;) {
    std::istringstream digits(word);
    double number = kInfinity;
    if (word != "max" && !(digits >> number)) break;
    numbers.push_back(number);
  }
  return numbers;
}

/// The first number in a file, or `otherwise`.
double number_in(const std::string& path, double otherwise) {
  const std::vector<double> numbers = numbers_in(path);
  return numbers.empty() ? otherwise : numbers.front();
}

/// The number after a name at the start of a line, or 0.
double value_of(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string first;
    double value = 0;
    if (words >> first >> value && first == name) return value;
  }
  return 0;
}

/// The folder of a group, and those above it up to `root`. A container may see the root only.
std::vector<std::string> up_to(const std::string& root, std::string group) {
  std::vector<std::string> folders;
  while (!group.empty() && group != "/") {
    folders.push_back(root + group);
    group.erase(group.rfind('/'));
  }
  folders.push_back(root);
  return folders;
}

bool names(const std::string& controllers, const std::string& controller) {
  std::istringstream list(controllers);
  for (std::string one; std::getline(list, one, ',');) {
    if (one == controller) return true;
  }
  return false;
}

/// What is left of a limit: the pages of files that nobody has used lately can go.
double left(double limit, double used, const std::string& statistics, const char* inactive) {
  if (std::isinf(limit)) return limit;
  return std::max(limit - used + value_of(statistics, inactive), 0.0);
}

}  // namespace

ControlGroups::ControlGroups(const std::string& memberships, const std::string& mount) {
  std::ifstream file(memberships);
  for (std::string line; std::getline(file, line);) {  // "4:cpu,cpuacct:/group" or, of version 2, "0::/group"
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controllers.empty()) v2_ = up_to(mount, group);
    if (names(controllers, "cpu")) v1_.cpu = up_to(mount + "/cpu", group);
    if (names(controllers, "memory")) v1_.memory = up_to(mount + "/memory", group);
  }
}

double ControlGroups::cores() const {
  double cores = kInfinity;
  for (const std::string& folder : v2_) {
    const std::vector<double> limit = numbers_in(folder + "/cpu.max");
    if (limit.size() == 2 && limit[1] > 0) cores = std::min(cores, limit[0] / limit[1]);
  }
  for (const std::string& folder : v1_.cpu) {
    const double quota = number_in(folder + "/cpu.cfs_quota_us", -1);
    const double period = number_in(folder + "/cpu.cfs_period_us", 0);
    if (quota > 0 && period > 0) cores = std::min(cores, quota / period);
  }
  return cores;
}

double ControlGroups::free_memory() const {
  double memory = kInfinity;
  for (const std::string& folder : v2_) {
    const double limit = number_in(folder + "/memory.max", kInfinity);
    const double used = number_in(folder + "/memory.current", 0);
    memory = std::min(memory, left(limit, used, folder + "/memory.stat", "inactive_file"));
  }
  for (const std::string& folder : v1_.memory) {
    const double limit = number_in(folder + "/memory.limit_in_bytes", kInfinity);
    const double used = number_in(folder + "/memory.usage_in_bytes", 0);
    memory = std::min(memory, left(limit, used, folder + "/memory.stat", "total_inactive_file"));
  }
  return memory;
}

std::size_t available_cores() {
  // A mask of as many processors as the system has; a fixed one is too small for large machines.
  const auto configured = static_cast<std::size_t>(std::max(sysconf(_SC_NPROCESSORS_CONF), 1L));
  double cores = static_cast<double>(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L));
  for (std::size_t size = std::max<std::size_t>(configured, CPU_SETSIZE); size <= (1U << 20); size *= 2) {
    cpu_set_t* mask = CPU_ALLOC(size);
    if (mask == nullptr) break;
    const bool found = sched_getaffinity(0, CPU_ALLOC_SIZE(size), mask) == 0;
    if (found) cores = CPU_COUNT_S(CPU_ALLOC_SIZE(size), mask);
    CPU_FREE(mask);
    if (found) break;
  }
  return static_cast<std::size_t>(std::max(std::min(cores, std::ceil(ControlGroups().cores())), 1.0));
}

double available_memory() {
  constexpr double kKilobyte = 1024;
  double memory = kKilobyte * (value_of("/proc/meminfo", "MemAvailable:") + value_of("/proc/meminfo", "SwapFree:"));
  if (memory == 0) {
    memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  }
  return std::min(memory, ControlGroups().free_memory());
}

}  // namespace tfminimize::solvers
