#ifndef TFMINIMIZE_XLA_PRODUCTS_TAKE_PRODUCTS_H_
#define TFMINIMIZE_XLA_PRODUCTS_TAKE_PRODUCTS_H_

#include "xla/service/hlo.pb.h"

namespace tfminimize::xla {

/// Puts calls of our kernels in the place of products of a matrix with many rows and a small one. XLA leaves these to
/// libraries that are made for large matrices. Products that do not fit a core's cache stay, as XLA has threads for
/// them; all of them stay if the processor lacks what the kernels need.
void take_products(::xla::HloModuleProto& module);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_PRODUCTS_TAKE_PRODUCTS_H_
