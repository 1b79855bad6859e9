#include "xla/nanort/matrices.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

namespace tfminimize::xla {

std::optional<Matrices> matrices(const ::xla::ShapeProto& shape) {
  const auto& sizes = shape.dimensions();
  if (sizes.size() < 2) return std::nullopt;
  if (shape.element_type() != ::xla::F64 && shape.element_type() != ::xla::F32) return std::nullopt;
  const auto is_possible = [](std::int64_t size) { return 0 < size && size <= std::numeric_limits<int>::max(); };
  if (!std::all_of(sizes.begin(), sizes.end(), is_possible)) return std::nullopt;
  const auto matrix = sizes.end() - 2;
  const auto count = std::accumulate(sizes.begin(), matrix, std::int64_t{1}, std::multiplies<>());
  return Matrices{static_cast<int>(matrix[0]), static_cast<int>(matrix[1]), static_cast<std::size_t>(count)};
}

std::optional<MatrixProduct> matrix_product(const ::xla::HloInstructionProto& instruction,
                                            const Instructions& instructions) {
  const int rank = instruction.shape().dimensions_size();
  if (instruction.opcode() != "dot" || rank < 2) return std::nullopt;
  for (const std::int64_t id : instruction.operand_ids()) {
    const ::xla::HloInstructionProto* const operand = instructions.find(id);
    if (operand == nullptr || operand->shape().dimensions_size() != rank ||
        operand->shape().element_type() != instruction.shape().element_type()) {
      return std::nullopt;
    }
  }
  const ::xla::DotDimensionNumbers& numbers = instruction.dot_dimension_numbers();
  std::vector<std::int64_t> stack(static_cast<std::size_t>(rank - 2));
  std::iota(stack.begin(), stack.end(), 0);
  const auto is_stack = [&](const auto& dimensions) {
    return std::equal(dimensions.begin(), dimensions.end(), stack.begin(), stack.end());
  };
  if (!is_stack(numbers.lhs_batch_dimensions()) || !is_stack(numbers.rhs_batch_dimensions()) ||
      numbers.lhs_contracting_dimensions_size() != 1) {
    return std::nullopt;
  }
  return MatrixProduct{numbers.lhs_contracting_dimensions(0) == rank - 2,
                       numbers.rhs_contracting_dimensions(0) == rank - 1};
}

}  // namespace tfminimize::xla
