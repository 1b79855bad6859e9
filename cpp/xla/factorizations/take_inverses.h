#ifndef TFMINIMIZE_XLA_FACTORIZATIONS_TAKE_INVERSES_H_
#define TFMINIMIZE_XLA_FACTORIZATIONS_TAKE_INVERSES_H_

#include "xla/service/hlo.pb.h"

namespace tfminimize::xla {

/// Puts triangular systems in the place of products with the inverse of a triangular matrix, which TensorFlow computes
/// for the gradient of a Cholesky factorization. A system takes half of the operations, and no inverse.
void take_inverses(::xla::HloModuleProto& module);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_FACTORIZATIONS_TAKE_INVERSES_H_
