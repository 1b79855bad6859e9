#ifndef TFMINIMIZE_XLA_AVX2_VECTORS_H_
#define TFMINIMIZE_XLA_AVX2_VECTORS_H_

// For files that are compiled for AVX2 and FMA. Whatever is here is a file's own or always inlined: a function that
// other files also define could be called on a processor without them.

#include <cstddef>

#define TFMINIMIZE_INLINE inline __attribute__((always_inline))

namespace tfminimize::xla {
namespace {  // NOLINT(cert-dcl59-cpp, google-build-namespaces): for the reason above

constexpr std::size_t kVectorBytes = 32;
constexpr std::size_t kRegisters = 16;

// One for each type, since GCC leaves the attribute out of a type that depends on a parameter.
template <typename T>
struct Vectors;
template <>
struct Vectors<float> {
  using InRegister = float __attribute__((vector_size(kVectorBytes)));
  using InMemory = float __attribute__((vector_size(kVectorBytes), aligned(sizeof(float)), may_alias));
};
template <>
struct Vectors<double> {
  using InRegister = double __attribute__((vector_size(kVectorBytes)));
  using InMemory = double __attribute__((vector_size(kVectorBytes), aligned(sizeof(double)), may_alias));
};
template <typename T>
using Vector = typename Vectors<T>::InRegister;

template <typename T>
constexpr std::size_t kLanes = kVectorBytes / sizeof(T);

template <typename T>
TFMINIMIZE_INLINE Vector<T> load(const T* p) {
  return *reinterpret_cast<const typename Vectors<T>::InMemory*>(p);
}
template <typename T>
TFMINIMIZE_INLINE void store(T* p, Vector<T> v) {
  *reinterpret_cast<typename Vectors<T>::InMemory*>(p) = v;
}
template <typename T>
TFMINIMIZE_INLINE Vector<T> in_all_lanes(T number) {
  return number - Vector<T>{};
}

/// How many rows of a tile fit into the registers, with `vectors` vectors each, beside a row that is read and a factor.
constexpr std::size_t rows_at_once(std::size_t vectors) {
  const std::size_t most = (kRegisters - 1 - vectors) / vectors;
  return most < 8 ? most : 8;
}

}  // namespace
}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_AVX2_VECTORS_H_
