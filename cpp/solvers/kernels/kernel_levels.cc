#include <cpuid.h>

#include <cstring>
#include <initializer_list>

#include "solvers/kernels/dense_kernels.h"
#include "solvers/kernels/kernels.h"
#include "solvers/kernels/triangle_kernels.h"

namespace tfminimize::solvers {
namespace v1 {
extern const StoredKernels kKernels;
extern const DenseKernels kDenseKernels;
extern const TriangleKernels kTriangleKernels;
}  // namespace v1
namespace v3 {
extern const StoredKernels kKernels;
extern const DenseKernels kDenseKernels;
extern const TriangleKernels kTriangleKernels;
}  // namespace v3
namespace v4 {
extern const StoredKernels kKernels;
extern const DenseKernels kDenseKernels;
extern const TriangleKernels kTriangleKernels;
}  // namespace v4

namespace {

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
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0 && has_scalar_part_of_v3();
}
bool runs_v4() {
  return runs_v3() && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512cd") != 0;
}

/// The table for `level`, or null if this machine cannot run it.
template <typename Table>
const Table* choose(const char* level, const Table& v1, const Table& v3, const Table& v4) {
  __builtin_cpu_init();
  if (std::strcmp(level, "v4") == 0) return runs_v4() ? &v4 : nullptr;
  if (std::strcmp(level, "v3") == 0) return runs_v3() ? &v3 : nullptr;
  return std::strcmp(level, "v1") == 0 ? &v1 : nullptr;
}

template <typename Table>
const Table& best(const Table* (*table_for)(const char* level)) {
  for (const char* level : {"v4", "v3"}) {
    if (const Table* found = table_for(level)) return *found;
  }
  return *table_for("v1");
}

}  // namespace

namespace {

const StoredKernels* stored_kernels_for(const char* level) {
  return choose(level, v1::kKernels, v3::kKernels, v4::kKernels);
}
const Kernels& of(const StoredKernels& kernels, Storage storage) {
  return storage == Storage::kFloat64 ? kernels.float64 : kernels.float32;
}

}  // namespace

const Kernels* kernels_for(const char* level, Storage storage) {
  const StoredKernels* found = stored_kernels_for(level);
  return found == nullptr ? nullptr : &of(*found, storage);
}
const Kernels& kernels(Storage storage) {
  static const StoredKernels& chosen = best(stored_kernels_for);
  return of(chosen, storage);
}

const DenseKernels* dense_kernels_for(const char* level) {
  return choose(level, v1::kDenseKernels, v3::kDenseKernels, v4::kDenseKernels);
}
const DenseKernels& dense_kernels() {
  static const DenseKernels& chosen = best(dense_kernels_for);
  return chosen;
}

const TriangleKernels* triangle_kernels_for(const char* level) {
  return choose(level, v1::kTriangleKernels, v3::kTriangleKernels, v4::kTriangleKernels);
}
const TriangleKernels& triangle_kernels() {
  static const TriangleKernels& chosen = best(triangle_kernels_for);
  return chosen;
}

}  // namespace tfminimize::solvers
