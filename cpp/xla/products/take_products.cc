#include "xla/products/take_products.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "xla/avx2/processor.h"
#include "xla/nanort/custom_call.h"
#include "xla/products/product_kernels.h"

namespace tfminimize::xla {
namespace {

using ::xla::HloInstructionProto;

/// The largest matrix, so that it is in a core's second cache.
constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
/// With fewer rows, a call takes longer than it saves.
constexpr std::size_t kMinRows = 32;

/// What a call hands to our kernels.
struct Product {
  ProductSizes sizes;
  ProductKind kind = ProductKind::kRows;
  ::xla::PrimitiveType type = ::xla::F64;
};

/// As XLA calls it; `text` holds a Product.
void multiply(void* result, const void** operands, const char* text, std::size_t /*size*/, XlaCustomCallStatus*) {
  const auto product = text_of<Product>(text);
  with_type(product.type, [&](auto type) {
    using T = decltype(type);
    multiply_matrices(product.kind, product.sizes, static_cast<const T*>(operands[0]),
                      static_cast<const T*>(operands[1]), static_cast<T*>(result));
  });
}

/// What XLA knows the kernels by; empty if they do not run on this machine.
const std::string& target() {
  static const std::string name = runs_avx2_kernels() ? register_kernel("product", &multiply) : "";
  return name;
}

/// One side of a product: a matrix, and the dimension that is summed over.
struct Operand {
  std::int64_t id = 0;
  const ::xla::ShapeProto* shape = nullptr;
  std::int64_t summed = 0;

  std::size_t size(std::int64_t dimension) const {
    return static_cast<std::size_t>(shape->dimensions(static_cast<int>(dimension)));
  }
};

/// A transposed matrix is the one before it, with the other dimension.
std::optional<Operand> operand_of(const Instructions& instructions, std::int64_t id, std::int64_t summed) {
  const HloInstructionProto* const found = instructions.find(id);
  if (found == nullptr) return std::nullopt;
  const HloInstructionProto& instruction = *found;
  if (instruction.shape().dimensions_size() != 2) return std::nullopt;
  if (instruction.opcode() == "transpose" && instruction.dimensions(0) == 1) {
    return operand_of(instructions, instruction.operand_ids(0), 1 - summed);
  }
  return Operand{id, &instruction.shape(), summed};
}

/// Vectors, matrices of one row or column, are left to XLA.
bool is_small(std::size_t rows, std::size_t columns) {
  return std::min(rows, columns) >= 2 && std::max(rows, columns) <= kMaxColumns && rows * columns <= kMaxSmall;
}

/// The product, if our kernels are for such ones.
std::optional<Product> product_of(const Operand& a, const Operand& b, ::xla::PrimitiveType type) {
  if (type != ::xla::F64 && type != ::xla::F32) return std::nullopt;
  if (a.shape->element_type() != type || b.shape->element_type() != type) return std::nullopt;
  Product product;
  product.type = type;
  product.sizes = {a.size(1 - a.summed), b.size(1 - b.summed), a.size(a.summed)};
  const auto [i, j, k] = product.sizes;
  const bool is_sum = a.summed == 0;
  if (is_sum && b.summed != 0) return std::nullopt;
  product.kind = is_sum ? ProductKind::kSum : b.summed == 0 ? ProductKind::kRows : ProductKind::kRowsTransposed;
  const std::size_t rows = is_sum ? k : i;
  const std::size_t columns = std::max(j, is_sum ? i : k);
  const std::size_t bytes = rows * columns * (type == ::xla::F64 ? sizeof(double) : sizeof(float));
  if (rows < kMinRows || bytes > kMaxBytes || !is_small(is_sum ? i : k, j)) return std::nullopt;
  return product;
}

/// The call in the place of a product, which may stay.
std::optional<HloInstructionProto> call_for(const HloInstructionProto& dot, const Instructions& instructions) {
  if (dot.opcode() != "dot") return std::nullopt;
  const ::xla::DotDimensionNumbers& numbers = dot.dot_dimension_numbers();
  if (dot.shape().dimensions_size() != 2 || numbers.lhs_batch_dimensions_size() > 0 ||
      numbers.lhs_contracting_dimensions_size() != 1) {
    return std::nullopt;
  }
  const auto a = operand_of(instructions, dot.operand_ids(0), numbers.lhs_contracting_dimensions(0));
  const auto b = operand_of(instructions, dot.operand_ids(1), numbers.rhs_contracting_dimensions(0));
  if (!a || !b) return std::nullopt;
  const std::optional<Product> product = product_of(*a, *b, dot.shape().element_type());
  if (!product) return std::nullopt;
  HloInstructionProto call = call_in_place_of(dot, target(), *product);
  for (const Operand& operand : {*a, *b}) add_operand(call, operand.id, *operand.shape);
  return call;
}

}  // namespace

void take_products(::xla::HloModuleProto& module) {
  if (!target().empty()) replace_instructions(module, call_for);
}

}  // namespace tfminimize::xla
