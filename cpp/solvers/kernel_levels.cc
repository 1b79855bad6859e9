#include <cpuid.h>

#include <cstring>
#include <initializer_list>

#include "solvers/kernels.h"

namespace tfminimize {
namespace v1 {
extern const Kernels kKernels;
}
namespace v3 {
extern const Kernels kKernels;
}
namespace v4 {
extern const Kernels kKernels;
}

namespace {

/// What v3 asks for besides vectors. The compiler may use all of it, and a virtual machine may hide any of it.
bool has_scalar_part_of_v3() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned basic = 0;
  unsigned extended = 0;
  unsigned d = 0;
  return __get_cpuid(1, &a, &b, &basic, &d) != 0 && __get_cpuid(0x80000001, &a, &b, &extended, &d) != 0 &&
         (basic & bit_MOVBE) != 0 && (basic & bit_F16C) != 0 && (extended & bit_LZCNT) != 0;
}
bool runs_v3() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0 && has_scalar_part_of_v3();
}
bool runs_v4() {
  return runs_v3() && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512cd") != 0;
}

}  // namespace

const Kernels* kernels_for(const char* level) {
  __builtin_cpu_init();
  if (std::strcmp(level, "v4") == 0) return runs_v4() ? &v4::kKernels : nullptr;
  if (std::strcmp(level, "v3") == 0) return runs_v3() ? &v3::kKernels : nullptr;
  return std::strcmp(level, "v1") == 0 ? &v1::kKernels : nullptr;
}

const Kernels& kernels() {
  static const Kernels& best = []() -> const Kernels& {
    for (const char* level : {"v4", "v3"}) {
      if (const Kernels* found = kernels_for(level)) return *found;
    }
    return v1::kKernels;
  }();
  return best;
}

}  // namespace tfminimize
