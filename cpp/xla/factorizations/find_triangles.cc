#include "xla/factorizations/find_triangles.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

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

/// Integers that depend on their place only: constant + slopes[0] * (first index) + slopes[1] * ...
struct Linear {
  std::int64_t constant = 0;
  std::vector<std::int64_t> slopes;

  bool operator==(const Linear& other) const { return constant == other.constant && slopes == other.slopes; }
};

/// Empty if it is not found out within `steps`: the number of sums may double with each.
std::optional<Linear> linear(const Instructions& instructions, std::int64_t id, int steps = 8) {
  const HloInstructionProto* const found = origin(instructions, id);
  if (found == nullptr || steps == 0) return std::nullopt;
  const auto rank = static_cast<std::size_t>(found->shape().dimensions_size());
  Linear result{0, std::vector<std::int64_t>(rank)};
  const std::string& opcode = found->opcode();
  if (opcode == "iota") {
    result.slopes[static_cast<std::size_t>(found->dimensions(0))] = 1;
    return result;
  }
  if (opcode == "constant" && rank == 0 && found->shape().element_type() == ::xla::S32) {
    result.constant = found->literal().s32s(0);
    return result;
  }
  if (opcode == "broadcast") {
    const auto before = linear(instructions, found->operand_ids(0), steps - 1);
    if (!before) return std::nullopt;
    result.constant = before->constant;
    for (std::size_t i = 0; i < before->slopes.size(); ++i) {
      result.slopes[static_cast<std::size_t>(found->dimensions(static_cast<int>(i)))] = before->slopes[i];
    }
    return result;
  }
  if (opcode == "add" || opcode == "subtract") {
    const auto one = linear(instructions, found->operand_ids(0), steps - 1);
    const auto other = linear(instructions, found->operand_ids(1), steps - 1);
    if (!one || !other) return std::nullopt;
    const int sign = opcode == "add" ? 1 : -1;
    result.constant = one->constant + sign * other->constant;
    for (std::size_t i = 0; i < rank; ++i) result.slopes[i] = one->slopes[i] + sign * other->slopes[i];
    return result;
  }
  return std::nullopt;
}

/// Whether a mask is (row - column compared with 0) for the last two indices.
bool compares_row_and_column(const Instructions& instructions, std::int64_t id, const std::string& direction) {
  const HloInstructionProto* const mask = origin(instructions, id);
  if (mask == nullptr || mask->opcode() != "compare" || mask->comparison_direction() != direction) return false;
  const auto one = linear(instructions, mask->operand_ids(0));
  const auto other = linear(instructions, mask->operand_ids(1));
  const auto rank = static_cast<std::size_t>(mask->shape().dimensions_size());
  if (!one || !other || rank < 2) return false;
  Linear row{0, std::vector<std::int64_t>(rank)};
  Linear column = row;
  row.slopes[rank - 2] = 1;
  column.slopes[rank - 1] = 1;
  return (*one == row && *other == column) || (direction == "EQ" && *one == column && *other == row);
}

/// The numbers of a constant, of one of our types; empty for others.
std::vector<double> numbers(const HloInstructionProto& constant) {
  const ::xla::LiteralProto& literal = constant.literal();
  if (constant.shape().element_type() == ::xla::F64) return {literal.f64s().begin(), literal.f64s().end()};
  if (constant.shape().element_type() == ::xla::F32) return {literal.f32s().begin(), literal.f32s().end()};
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

}  // namespace tfminimize::xla
