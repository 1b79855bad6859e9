#ifndef TFMINIMIZE_XLA_FACTORIZATIONS_FIND_TRIANGLES_H_
#define TFMINIMIZE_XLA_FACTORIZATIONS_FIND_TRIANGLES_H_

#include <cstdint>
#include <vector>

#include "xla/nanort/custom_call.h"
#include "xla/service/hlo.pb.h"

namespace tfminimize::xla {

/// The triangular system whose solution this is, if its right-hand side is an identity matrix: the solution is then
/// the inverse of the triangular matrix. Null otherwise.
const ::xla::HloInstructionProto* system_of_inverse(const Instructions& instructions, std::int64_t id);

/// Whether this is a Cholesky factor with zeros above its diagonal, as tf.linalg.cholesky returns it.
bool is_cholesky_factor(const Instructions& instructions, std::int64_t id);

/// A product op(A) B, or B op(A), that reads B as it is stored.
struct OneSided {
  std::int64_t a = 0;
  std::int64_t b = 0;
  bool is_left = true;
  bool is_transposed = false;
};

/// An instruction as such products: none if it is no product of matrices, two if either factor may be A.
std::vector<OneSided> one_sided_products(const ::xla::HloInstructionProto& dot, const Instructions& instructions);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_FACTORIZATIONS_FIND_TRIANGLES_H_
