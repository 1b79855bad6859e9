#ifndef TFMINIMIZE_XLA_AVX2_PROCESSOR_H_
#define TFMINIMIZE_XLA_AVX2_PROCESSOR_H_

namespace tfminimize::xla {

/// Whether this processor runs the kernels that are compiled for AVX2 and FMA.
inline bool runs_avx2_kernels() {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#else
  return false;
#endif
}

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_AVX2_PROCESSOR_H_
