#include "xla/factorizations/find_triangles.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "xla/nanort/matrices.h"

namespace tfminimize::xla {
namespace {

using ::xla::HloInstructionProto;

bool have_same_sizes(const ::xla::ShapeProto& one, const ::xla::ShapeProto& other) {
  return std::equal(one.dimensions().begin(), one.dimensions().end(), other.dimensions().begin(),
                    other.dimensions().end());
}

bool is_square(const ::xla::ShapeProto& shape) {
  const int rank = shape.dimensions_size();
  return rank >= 2 && shape.dimensions(rank - 1) == shape.dimensions(rank - 2);
}

/// The instruction with this identity, or what it is a copy of, with the same shape; null if it is not in the
/// computation.
const HloInstructionProto* origin(const Instructions& instructions, std::int64_t id) {
  const HloInstructionProto* const found = instructions.find(id);
  if (found == nullptr) return nullptr;
  const std::string& opcode = found->opcode();
  const bool keeps_places = opcode == "transpose" || opcode == "broadcast"
                                ? std::is_sorted(found->dimensions().begin(), found->dimensions().end())
                                : opcode == "reshape" || opcode == "copy";
  if (!keeps_places || found->operand_ids_size() != 1) return found;
  const HloInstructionProto* const operand = instructions.find(found->operand_ids(0));
  if (operand == nullptr || !have_same_sizes(operand->shape(), found->shape())) return found;
  return origin(instructions, found->operand_ids(0));
}

/// The numbers of a constant of float64, float32 or int32, as diagonals have; empty for others.
std::vector<double> numbers(const HloInstructionProto& constant) {
  const ::xla::LiteralProto& literal = constant.literal();
  if (constant.shape().element_type() == ::xla::F64) return {literal.f64s().begin(), literal.f64s().end()};
  if (constant.shape().element_type() == ::xla::F32) return {literal.f32s().begin(), literal.f32s().end()};
  if (constant.shape().element_type() == ::xla::S32) return {literal.s32s().begin(), literal.s32s().end()};
  return {};
}

bool is_number_everywhere(const Instructions& instructions, std::int64_t id, double number) {
  const HloInstructionProto* const found = origin(instructions, id);
  if (found == nullptr) return false;
  if (found->opcode() == "broadcast") return is_number_everywhere(instructions, found->operand_ids(0), number);
  if (found->opcode() != "constant") return false;
  const std::vector<double> all = numbers(*found);
  return !all.empty() && std::all_of(all.begin(), all.end(), [=](double one) { return one == number; });
}

/// The dimension whose index stands in each place of an array; empty if something else stands there.
std::optional<std::int64_t> dimension_of_index(const Instructions& instructions, std::int64_t id) {
  const HloInstructionProto* const found = origin(instructions, id);
  if (found == nullptr) return std::nullopt;
  if (found->opcode() == "iota") return found->dimensions(0);
  if (found->opcode() == "broadcast") {
    const auto before = dimension_of_index(instructions, found->operand_ids(0));
    if (!before) return std::nullopt;
    return found->dimensions(static_cast<int>(*before));
  }
  // TensorFlow numbers diagonals, and adds the number of the main one.
  if (found->opcode() == "add" && is_number_everywhere(instructions, found->operand_ids(1), 0)) {
    return dimension_of_index(instructions, found->operand_ids(0));
  }
  return std::nullopt;
}

/// Whether a mask compares the row with the column, in this direction.
bool compares_row_and_column(const Instructions& instructions, std::int64_t id, const std::string& direction) {
  const HloInstructionProto* const mask = origin(instructions, id);
  if (mask == nullptr || mask->opcode() != "compare" || mask->comparison_direction() != direction) return false;
  const int rank = mask->shape().dimensions_size();
  return rank >= 2 && dimension_of_index(instructions, mask->operand_ids(0)) == rank - 2 &&
         dimension_of_index(instructions, mask->operand_ids(1)) == rank - 1;
}

bool is_identity_constant(const HloInstructionProto& constant) {
  const auto& order = constant.literal().shape().layout().minor_to_major();
  if (!std::is_sorted(order.rbegin(), order.rend())) return false;
  const std::vector<double> all = numbers(constant);
  const auto n = static_cast<std::size_t>(*constant.shape().dimensions().rbegin());
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i] != (i % n == i / n % n ? 1 : 0)) return false;
  }
  return !all.empty();
}

/// TensorFlow computes small identity matrices before XLA sees them.
bool is_identity(const Instructions& instructions, std::int64_t id) {
  const HloInstructionProto* const found = origin(instructions, id);
  if (found == nullptr || !is_square(found->shape())) return false;
  if (found->opcode() == "constant") return is_identity_constant(*found);
  return found->opcode() == "select" && compares_row_and_column(instructions, found->operand_ids(0), "EQ") &&
         is_number_everywhere(instructions, found->operand_ids(1), 1) &&
         is_number_everywhere(instructions, found->operand_ids(2), 0);
}

/// What a matrix is a copy of; a stack of one matrix is that matrix.
const HloInstructionProto* matrix_origin(const Instructions& instructions, std::int64_t id) {
  const HloInstructionProto* const found = origin(instructions, id);
  if (found == nullptr || found->opcode() != "reshape") return found;
  const HloInstructionProto* const operand = instructions.find(found->operand_ids(0));
  if (operand == nullptr) return found;
  const auto& sizes = found->shape().dimensions();
  const auto& before = operand->shape().dimensions();
  const bool is_same = before.size() >= 2 && before.size() <= sizes.size() &&
                       std::equal(before.begin(), before.end(), sizes.end() - before.size());
  return is_same ? matrix_origin(instructions, found->operand_ids(0)) : found;
}

}  // namespace

const HloInstructionProto* system_of_inverse(const Instructions& instructions, std::int64_t id) {
  const HloInstructionProto* const found = matrix_origin(instructions, id);
  if (found == nullptr || found->opcode() != "triangular-solve") return nullptr;
  return is_identity(instructions, found->operand_ids(1)) ? found : nullptr;
}

bool is_cholesky_factor(const Instructions& instructions, std::int64_t id) {
  const HloInstructionProto* const found = matrix_origin(instructions, id);
  if (found == nullptr || found->opcode() != "select") return false;
  const HloInstructionProto* const factor = origin(instructions, found->operand_ids(1));
  return factor != nullptr && factor->opcode() == "cholesky" && factor->cholesky_options().lower() &&
         compares_row_and_column(instructions, found->operand_ids(0), "GE") &&
         is_number_everywhere(instructions, found->operand_ids(2), 0);
}

std::vector<OneSided> one_sided_products(const HloInstructionProto& dot, const Instructions& instructions) {
  const auto product = matrix_product(dot, instructions);
  if (!product) return {};
  const std::int64_t left = dot.operand_ids(0);
  const std::int64_t right = dot.operand_ids(1);
  std::vector<OneSided> found;
  if (!product->is_right_transposed) found.push_back({left, right, true, product->is_left_transposed});
  if (!product->is_left_transposed) found.push_back({right, left, false, product->is_right_transposed});
  return found;
}

}  // namespace tfminimize::xla
