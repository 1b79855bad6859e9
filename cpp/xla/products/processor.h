#ifndef TFMINIMIZE_XLA_PRODUCTS_PROCESSOR_H_
#define TFMINIMIZE_XLA_PRODUCTS_PROCESSOR_H_

namespace tfminimize::xla {

/// Whether this processor runs the kernels of products. Apart from them, since they are compiled for such a processor.
inline bool runs_product_kernels() {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#else
  return false;
#endif
}

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_PRODUCTS_PROCESSOR_H_
