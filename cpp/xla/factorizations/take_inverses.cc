#include "xla/factorizations/take_inverses.h"

#include <optional>

#include "xla/factorizations/find_triangles.h"
#include "xla/nanort/custom_call.h"

namespace tfminimize::xla {
namespace {

using ::xla::HloInstructionProto;
using ::xla::TriangularSolveOptions;

/// The system op(A) X = B or X op(A) = B in the place of a product of B and op(inverse of A).
HloInstructionProto system_in_place_of(const HloInstructionProto& product, const HloInstructionProto& inverse,
                                       const OneSided& sides) {
  HloInstructionProto system;
  system.set_id(product.id());
  system.set_name(product.name());
  system.set_opcode("triangular-solve");
  *system.mutable_metadata() = product.metadata();
  *system.mutable_shape() = product.shape();
  system.add_operand_ids(inverse.operand_ids(0));
  system.add_operand_ids(sides.b);
  TriangularSolveOptions& options = *system.mutable_triangular_solve_options();
  options = inverse.triangular_solve_options();
  const bool was_transposed = options.transpose_a() != TriangularSolveOptions::NO_TRANSPOSE;
  options.set_left_side(sides.is_left);
  options.set_transpose_a(was_transposed == sides.is_transposed ? TriangularSolveOptions::NO_TRANSPOSE
                                                                : TriangularSolveOptions::TRANSPOSE);
  return system;
}

std::optional<HloInstructionProto> system_for(const HloInstructionProto& dot, const Instructions& instructions) {
  for (const OneSided& sides : one_sided_products(dot, instructions)) {
    const HloInstructionProto* const inverse = system_of_inverse(instructions, sides.a);
    if (inverse != nullptr) return system_in_place_of(dot, *inverse, sides);
  }
  return std::nullopt;
}

}  // namespace

void take_inverses(::xla::HloModuleProto& module) { replace_instructions(module, system_for); }

}  // namespace tfminimize::xla
