#ifndef TFMINIMIZE_SOLVERS_KERNELS_LANES_H_
#define TFMINIMIZE_SOLVERS_KERNELS_LANES_H_

// Eight doubles, as vectors of the processor that a file is compiled for. Only files that are compiled once for each
// level include this. Everything here is internal to such a file; otherwise the linker would merge functions of two
// levels.

#include <cstddef>
#include <cstdint>

#include "solvers/kernels/kernels.h"

#define TFMINIMIZE_INLINE inline __attribute__((always_inline))

namespace tfminimize::solvers {
namespace {  // NOLINT(google-build-namespaces): see above

#if defined(__AVX512F__)
constexpr std::size_t kParts = 1;
#elif defined(__AVX2__)
constexpr std::size_t kParts = 2;
#else
constexpr std::size_t kParts = 4;
#endif
constexpr std::size_t kPartLanes = 8 / kParts;

using Doubles = double __attribute__((vector_size(kPartLanes * 8)));
using Masks = std::int64_t __attribute__((vector_size(kPartLanes * 8)));
using Floats = float __attribute__((vector_size(kPartLanes * 4)));
using UnalignedDoubles = double __attribute__((vector_size(kPartLanes * 8), aligned(8), may_alias));
using UnalignedFloats = float __attribute__((vector_size(kPartLanes * 4), aligned(4), may_alias));

/// Eight doubles.
struct V8 {
  Doubles part[kParts];
};

/// Eight truth values: a lane has all bits set, or no bit.
struct M8 {
  Masks part[kParts];
};

TFMINIMIZE_INLINE V8 load(const double* p) {
  V8 v;
  for (std::size_t k = 0; k < kParts; ++k) v.part[k] = *reinterpret_cast<const UnalignedDoubles*>(p + k * kPartLanes);
  return v;
}
TFMINIMIZE_INLINE void store(double* p, const V8& v) {
  for (std::size_t k = 0; k < kParts; ++k) *reinterpret_cast<UnalignedDoubles*>(p + k * kPartLanes) = v.part[k];
}
TFMINIMIZE_INLINE V8 load(const float* p) {
  V8 v;
  for (std::size_t k = 0; k < kParts; ++k) {
    v.part[k] = __builtin_convertvector(*reinterpret_cast<const UnalignedFloats*>(p + k * kPartLanes), Doubles);
  }
  return v;
}
TFMINIMIZE_INLINE void store(float* p, const V8& v) {
  for (std::size_t k = 0; k < kParts; ++k) {
    *reinterpret_cast<UnalignedFloats*>(p + k * kPartLanes) = __builtin_convertvector(v.part[k], Floats);
  }
}
TFMINIMIZE_INLINE V8 broadcast(double a) {
  V8 v;
  for (Doubles& part : v.part) part = a - Doubles{};  // a - 0 is a, also for -0.
  return v;
}

#define TFMINIMIZE_LANEWISE(result, name, a_type, b_type, expression)  \
  TFMINIMIZE_INLINE result name(const a_type& a, const b_type& b) {    \
    result r;                                                          \
    for (std::size_t k = 0; k < kParts; ++k) r.part[k] = (expression); \
    return r;                                                          \
  }
TFMINIMIZE_LANEWISE(V8, operator+, V8, V8, a.part[k] + b.part[k])
TFMINIMIZE_LANEWISE(V8, operator-, V8, V8, a.part[k] - b.part[k])
TFMINIMIZE_LANEWISE(V8, operator*, V8, V8, a.part[k] * b.part[k])
TFMINIMIZE_LANEWISE(V8, operator/, V8, V8, a.part[k] / b.part[k])
TFMINIMIZE_LANEWISE(V8, smaller, V8, V8, b.part[k] < a.part[k] ? b.part[k] : a.part[k])
TFMINIMIZE_LANEWISE(V8, larger, V8, V8, a.part[k] < b.part[k] ? b.part[k] : a.part[k])
TFMINIMIZE_LANEWISE(M8, operator<, V8, V8, a.part[k] < b.part[k])
TFMINIMIZE_LANEWISE(M8, operator<=, V8, V8, a.part[k] <= b.part[k])
TFMINIMIZE_LANEWISE(M8, operator==, V8, V8, a.part[k] == b.part[k])
TFMINIMIZE_LANEWISE(M8, operator!=, V8, V8, a.part[k] != b.part[k])
TFMINIMIZE_LANEWISE(M8, operator&, M8, M8, a.part[k] & b.part[k])
TFMINIMIZE_LANEWISE(M8, operator|, M8, M8, a.part[k] | b.part[k])
TFMINIMIZE_LANEWISE(M8, but_not, M8, M8, a.part[k] & ~b.part[k])
TFMINIMIZE_LANEWISE(M8, plus_count, M8, M8, a.part[k] - b.part[k])
#undef TFMINIMIZE_LANEWISE

TFMINIMIZE_INLINE V8 select(const M8& mask, const V8& a, const V8& b) {
  V8 r;
  for (std::size_t k = 0; k < kParts; ++k) r.part[k] = mask.part[k] ? a.part[k] : b.part[k];
  return r;
}
TFMINIMIZE_INLINE V8 zero() { return V8{}; }
TFMINIMIZE_INLINE V8 negative(const V8& a) {
  V8 r;
  for (std::size_t k = 0; k < kParts; ++k) r.part[k] = -a.part[k];
  return r;
}
TFMINIMIZE_INLINE V8 magnitude(const V8& a) { return larger(a, negative(a)); }
TFMINIMIZE_INLINE V8 clip(const V8& x, const V8& lower, const V8& upper) { return smaller(larger(x, lower), upper); }

/// What a store to elements of this type keeps. A number beyond float32 becomes its largest, so that a direction still
/// descends; what is infinite or NaN stays so.
template <typename Element>
TFMINIMIZE_INLINE V8 rounded(const V8& v) {
  if constexpr (sizeof(Element) == sizeof(double)) return v;
  const V8 largest = broadcast(static_cast<double>(__FLT_MAX__));
  const V8 within = select(magnitude(v) < broadcast(__builtin_inf()), clip(v, negative(largest), largest), v);
  V8 r;
  for (std::size_t k = 0; k < kParts; ++k) {
    r.part[k] = __builtin_convertvector(__builtin_convertvector(within.part[k], Floats), Doubles);
  }
  return r;
}

/// The sum of the lanes: folds them in the middle three times.
TFMINIMIZE_INLINE double sum(const V8& v) {
  double a[8];
  store(a, v);
  return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}
TFMINIMIZE_INLINE double minimum(const V8& v) {
  double a[8];
  store(a, v);
  for (int width = 4; width > 0; width /= 2) {
    for (int k = 0; k < width; ++k) a[k] = a[k + width] < a[k] ? a[k + width] : a[k];
  }
  return a[0];
}
TFMINIMIZE_INLINE double maximum(const V8& v) { return -minimum(negative(v)); }
/// The total of the counts that plus_count() made.
TFMINIMIZE_INLINE std::size_t total_count(const M8& counts) {
  std::int64_t total = 0;
  for (const Masks& part : counts.part) {
    for (std::size_t lane = 0; lane < kPartLanes; ++lane) total += part[lane];
  }
  return static_cast<std::size_t>(total);
}
TFMINIMIZE_INLINE bool any(const M8& mask) {
  std::int64_t bits = 0;
  for (const Masks& part : mask.part) {
    for (std::size_t lane = 0; lane < kPartLanes; ++lane) bits |= part[lane];
  }
  return bits != 0;
}

/// The lanes that have this position.
TFMINIMIZE_INLINE M8 lanes_at(const std::uint8_t* positions, Position position) {
  M8 mask;
  for (std::size_t k = 0; k < kParts; ++k) {
    for (std::size_t lane = 0; lane < kPartLanes; ++lane) {
      mask.part[k][lane] = positions[k * kPartLanes + lane] == position ? -1 : 0;
    }
  }
  return mask;
}
/// Writes the position of each lane: that of the mask that is set there, or kFree.
TFMINIMIZE_INLINE void store_positions(std::uint8_t* positions, const M8& at_lower, const M8& at_upper,
                                       const M8& fixed) {
  for (std::size_t k = 0; k < kParts; ++k) {
    const Masks value = (at_lower.part[k] & std::int64_t{kAtLower}) | (at_upper.part[k] & std::int64_t{kAtUpper}) |
                        (fixed.part[k] & std::int64_t{kFixed});
    for (std::size_t lane = 0; lane < kPartLanes; ++lane) {
      positions[k * kPartLanes + lane] = static_cast<std::uint8_t>(value[lane]);
    }
  }
}

}  // namespace
}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_KERNELS_LANES_H_
