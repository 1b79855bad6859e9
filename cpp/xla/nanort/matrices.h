#ifndef TFMINIMIZE_XLA_NANORT_MATRICES_H_
#define TFMINIMIZE_XLA_NANORT_MATRICES_H_

#include <cstddef>
#include <optional>

#include "xla/nanort/custom_call.h"
#include "xla/service/hlo.pb.h"

namespace tfminimize::xla {

/// The sizes of a stack of matrices.
struct Matrices {
  int rows = 0;
  int columns = 0;
  std::size_t count = 0;
};

/// Empty for other arrays than of float64 and float32, for empty ones, and for sizes that are too large for LAPACK.
std::optional<Matrices> matrices(const ::xla::ShapeProto& shape);

/// How a product of two matrices, or of two stacks of as many, of the same type as the result, reads them.
struct MatrixProduct {
  bool is_left_transposed = false;
  bool is_right_transposed = false;
};

/// Empty if the instruction is something else.
std::optional<MatrixProduct> matrix_product(const ::xla::HloInstructionProto& instruction,
                                            const Instructions& instructions);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_NANORT_MATRICES_H_
