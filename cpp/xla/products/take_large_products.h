#ifndef TFMINIMIZE_XLA_PRODUCTS_TAKE_LARGE_PRODUCTS_H_
#define TFMINIMIZE_XLA_PRODUCTS_TAKE_LARGE_PRODUCTS_H_

#include "xla/service/hlo.pb.h"

namespace tfminimize::xla {

/// Puts calls of BLAS in the place of products of large matrices, for which it is faster than XLA. They stay if there
/// is no library.
void take_large_products(::xla::HloModuleProto& module);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_PRODUCTS_TAKE_LARGE_PRODUCTS_H_
