#ifndef TFMINIMIZE_XLA_FACTORIZATIONS_FIND_TRIANGLES_H_
#define TFMINIMIZE_XLA_FACTORIZATIONS_FIND_TRIANGLES_H_

#include <cstdint>
#include <optional>

#include "xla/nanort/custom_call.h"
#include "xla/service/hlo.pb.h"

namespace tfminimize::xla {

/// The instruction with this identity, or what it is a copy of, with the same shape; null if it is not in the
/// computation.
const ::xla::HloInstructionProto* origin(const Instructions& instructions, std::int64_t id);

/// The triangular system whose solution this is, if its right-hand side is an identity matrix: the solution is then
/// the inverse of the triangular matrix. Null otherwise.
const ::xla::HloInstructionProto* system_of_inverse(const Instructions& instructions, std::int64_t id);

/// Whether this is a Cholesky factor with zeros above its diagonal, as tf.linalg.cholesky returns it.
bool is_cholesky_factor(const Instructions& instructions, std::int64_t id);

/// How a product of two matrices, or of two stacks of as many, reads them.
struct MatrixProduct {
  bool is_left_transposed = false;
  bool is_right_transposed = false;
};

/// Empty if the instruction is something else.
std::optional<MatrixProduct> matrix_product(const ::xla::HloInstructionProto& instruction);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_FACTORIZATIONS_FIND_TRIANGLES_H_
