#ifndef TFMINIMIZE_XLA_FACTORIZATIONS_TAKE_FACTORIZATIONS_H_
#define TFMINIMIZE_XLA_FACTORIZATIONS_TAKE_FACTORIZATIONS_H_

#include "xla/factorizations/lapack.h"
#include "xla/service/hlo.pb.h"

namespace tfminimize::xla {

/// The library to call from now on. It must stay loaded. Only the first call counts: programs may be using that one.
void set_lapack(const Lapack& lapack);

/// Puts calls of LAPACK, or of kernels of our own, in the place of Cholesky factorizations and triangular systems, for
/// which XLA has loops over columns, and of products with a Cholesky factor or with the inverse of one. They stay if
/// there is no library.
void take_factorizations(::xla::HloModuleProto& module);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_FACTORIZATIONS_TAKE_FACTORIZATIONS_H_
