#ifndef TFMINIMIZE_SOLVERS_MACHINE_H_
#define TFMINIMIZE_SOLVERS_MACHINE_H_

#include <cstddef>
#include <string>
#include <vector>

namespace tfminimize::solvers {

/// The limits of the control groups (cgroups) that this process is in, of version 2 or 1: what a container gives it.
class ControlGroups {
 public:
  /// memberships: the file that lists the groups of the process; mount: where their limits are.
  explicit ControlGroups(const std::string& memberships = "/proc/self/cgroup",
                         const std::string& mount = "/sys/fs/cgroup");

  /// Cores, as a quota of time; infinity without one.
  double cores() const;
  /// Bytes of memory that are left; infinity without a limit. What the system can drop from its cache counts as left.
  double free_memory() const;

 private:
  /// The folders with the limits of one version, from the group of the process up to the root.
  struct Folders {
    std::vector<std::string> cpu;
    std::vector<std::string> memory;
  };

  Folders v1_;
  std::vector<std::string> v2_;
};

/// The cores that this process may use: those of its affinity, or fewer if a control group has a quota. At least 1.
std::size_t available_cores();

/// The bytes of memory, swap included, that this process can take; those of the machine if the system does not say.
double available_memory();

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_MACHINE_H_
