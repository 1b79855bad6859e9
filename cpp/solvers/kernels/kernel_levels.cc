#ifdef __x86_64__
#include <cpuid.h>
#endif

#include <algorithm>
#include <cstring>
#include <iterator>

#include "solvers/kernels/dense_kernels.h"
#include "solvers/kernels/kernels.h"
#include "solvers/kernels/triangle_kernels.h"

// What the files that are compiled for a level define (see tfminimize_add_levels in cmake/Targets.cmake).
#define TFMINIMIZE_DECLARE_LEVEL(level)          \
  namespace level {                              \
  extern const StoredKernels kKernels;           \
  extern const DenseKernels kDenseKernels;       \
  extern const TriangleKernels kTriangleKernels; \
  }

namespace tfminimize::solvers {

TFMINIMIZE_DECLARE_LEVEL(v1)
#ifdef __x86_64__
TFMINIMIZE_DECLARE_LEVEL(v3)
TFMINIMIZE_DECLARE_LEVEL(v4)
#endif

namespace {

#ifdef __x86_64__
/// Whether the machine has what v3 requires besides vectors. The compiler may use all of it, and a virtual machine may
/// hide any of it.
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
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0 && has_scalar_part_of_v3();
}
bool runs_v4() {
  return runs_v3() && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512cd") != 0;
}
#endif
bool runs_v1() { return true; }

/// A level that is compiled for this kind of processor.
struct Level {
  const char* name;
  bool (*runs)();  ///< Whether this machine runs it.
  const StoredKernels* kernels;
  const DenseKernels* dense_kernels;
  const TriangleKernels* triangle_kernels;
};

/// From the highest to the lowest.
constexpr Level kLevels[] = {
#ifdef __x86_64__
    {"v4", runs_v4, &v4::kKernels, &v4::kDenseKernels, &v4::kTriangleKernels},
    {"v3", runs_v3, &v3::kKernels, &v3::kDenseKernels, &v3::kTriangleKernels},
#endif
    {"v1", runs_v1, &v1::kKernels, &v1::kDenseKernels, &v1::kTriangleKernels},
};

/// The level of this name, or null if this machine cannot run it.
const Level* find(const char* name) {
  for (const Level& level : kLevels) {
    if (std::strcmp(level.name, name) == 0) return level.runs() ? &level : nullptr;
  }
  return nullptr;
}

/// The highest level that this machine runs.
const Level& best() {
  static const Level& chosen =
      *std::find_if(std::begin(kLevels), std::end(kLevels), [](const Level& level) { return level.runs(); });
  return chosen;
}

const Kernels& of(const StoredKernels& kernels, Storage storage) {
  return storage == Storage::kFloat64 ? kernels.float64 : kernels.float32;
}

}  // namespace

const Kernels* kernels_for(const char* level, Storage storage) {
  const Level* found = find(level);
  return found == nullptr ? nullptr : &of(*found->kernels, storage);
}
const Kernels& kernels(Storage storage) { return of(*best().kernels, storage); }

const DenseKernels* dense_kernels_for(const char* level) {
  const Level* found = find(level);
  return found == nullptr ? nullptr : found->dense_kernels;
}
const DenseKernels& dense_kernels() { return *best().dense_kernels; }

const TriangleKernels* triangle_kernels_for(const char* level) {
  const Level* found = find(level);
  return found == nullptr ? nullptr : found->triangle_kernels;
}
const TriangleKernels& triangle_kernels() { return *best().triangle_kernels; }

}  // namespace tfminimize::solvers
