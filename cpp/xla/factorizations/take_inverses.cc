#include "xla/factorizations/take_inverses.h"

#include <cstdint>
#include <optional>

#include "xla/factorizations/find_triangles.h"
#include "xla/nanort/custom_call.h"
#include "xla/nanort/matrices.h"

namespace tfminimize::xla {
namespace {

using ::xla::HloInstructionProto;
using ::xla::TriangularSolveOptions;

/// The system op(A) X = B or X op(A) = B in the place of a product of B and op(inverse of A).
HloInstructionProto system_in_place_of(const HloInstructionProto& product, const HloInstructionProto& inverse,
                                       bool is_left, bool is_transposed, std::int64_t b) {
  HloInstructionProto system;
  system.set_id(product.id());
  system.set_name(product.name());
  system.set_opcode("triangular-solve");
  *system.mutable_metadata() = product.metadata();
  *system.mutable_shape() = product.shape();
  system.add_operand_ids(inverse.operand_ids(0));
  system.add_operand_ids(b);
  TriangularSolveOptions& options = *system.mutable_triangular_solve_options();
  options = inverse.triangular_solve_options();
  const bool was_transposed = options.transpose_a() != TriangularSolveOptions::NO_TRANSPOSE;
  options.set_left_side(is_left);
  options.set_transpose_a(was_transposed == is_transposed ? TriangularSolveOptions::NO_TRANSPOSE
                                                          : TriangularSolveOptions::TRANSPOSE);
  return system;
}

std::optional<HloInstructionProto> system_for(const HloInstructionProto& dot, const Instructions& instructions) {
  const auto product = matrix_product(dot, instructions);
  if (!product) return std::nullopt;
  const std::int64_t left = dot.operand_ids(0);
  const std::int64_t right = dot.operand_ids(1);
  const HloInstructionProto* const inverse_left =
      product->is_right_transposed ? nullptr : system_of_inverse(instructions, left);
  if (inverse_left != nullptr) {
    return system_in_place_of(dot, *inverse_left, true, product->is_left_transposed, right);
  }
  const HloInstructionProto* const inverse_right =
      product->is_left_transposed ? nullptr : system_of_inverse(instructions, right);
  if (inverse_right != nullptr) {
    return system_in_place_of(dot, *inverse_right, false, product->is_right_transposed, left);
  }
  return std::nullopt;
}

}  // namespace

void take_inverses(::xla::HloModuleProto& module) { replace_instructions(module, system_for); }

}  // namespace tfminimize::xla
