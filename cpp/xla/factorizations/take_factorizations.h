#ifndef TFMINIMIZE_XLA_FACTORIZATIONS_TAKE_FACTORIZATIONS_H_
#define TFMINIMIZE_XLA_FACTORIZATIONS_TAKE_FACTORIZATIONS_H_

#include "xla/service/hlo.pb.h"

namespace tfminimize::xla {

/// Puts calls of LAPACK, or of kernels of our own, in the place of Cholesky factorizations and triangular systems, for
/// which XLA has loops over columns, and of products with a Cholesky factor or with the inverse of one. They stay if
/// there is no library.
void take_factorizations(::xla::HloModuleProto& module);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_FACTORIZATIONS_TAKE_FACTORIZATIONS_H_
