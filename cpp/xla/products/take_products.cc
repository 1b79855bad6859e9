#include "xla/products/take_products.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "xla/products/processor.h"
#include "xla/products/product_kernels.h"
#include "xla/service/custom_call_status.h"
#include "xla/service/custom_call_target_registry.h"

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
  Product product;
  std::memcpy(&product, text, sizeof product);
  if (product.type == ::xla::F64) {
    multiply_doubles(product.kind, product.sizes, static_cast<const double*>(operands[0]),
                     static_cast<const double*>(operands[1]), static_cast<double*>(result));
  } else {
    multiply_floats(product.kind, product.sizes, static_cast<const float*>(operands[0]),
                    static_cast<const float*>(operands[1]), static_cast<float*>(result));
  }
}

/// What XLA knows the kernels by. It ends the process if two functions have one name, so another copy of this library
/// in the process, as of another installation, must have a name of its own.
const std::string& target() {
  static const std::string name = "tfminimize_product_" + std::to_string(reinterpret_cast<std::uintptr_t>(&multiply));
  return name;
}

/// Whether the kernels run on this machine. If so, XLA knows them from now on.
bool are_kernels_there() {
  static const bool are_there = [] {
    if (!runs_product_kernels()) return false;
    ::xla::CustomCallTargetRegistry::Global()->Register(target(), reinterpret_cast<void*>(&multiply), "Host");
    return true;
  }();
  return are_there;
}

/// The instructions of a computation by their numbers in it, which are the lower halves of their identities.
using Instructions = std::map<std::uint32_t, const HloInstructionProto*>;

std::uint32_t number_of(std::int64_t id) { return static_cast<std::uint32_t>(id); }

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
  const auto found = instructions.find(number_of(id));
  if (found == instructions.end()) return std::nullopt;
  const HloInstructionProto& instruction = *found->second;
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

void set_row_major(::xla::ShapeProto& shape) {
  shape.mutable_layout()->clear_minor_to_major();
  for (const int dimension : {1, 0}) shape.mutable_layout()->add_minor_to_major(dimension);
}

/// The call in the place of `dot`, which may stay.
std::optional<HloInstructionProto> call_for(const HloInstructionProto& dot, const Instructions& instructions) {
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
  HloInstructionProto call;
  call.set_id(dot.id());
  call.set_name(dot.name());
  call.set_opcode("custom-call");
  call.set_custom_call_target(target());
  call.set_custom_call_api_version(::xla::API_VERSION_STATUS_RETURNING_UNIFIED);
  call.set_backend_config(std::string(reinterpret_cast<const char*>(&*product), sizeof *product));
  call.set_constrain_layout(true);
  *call.mutable_metadata() = dot.metadata();
  *call.mutable_shape() = dot.shape();
  set_row_major(*call.mutable_shape());
  for (const Operand& operand : {*a, *b}) {
    call.add_operand_ids(operand.id);
    ::xla::ShapeProto& shape = *call.add_operand_shapes_with_layout();
    shape = *operand.shape;
    set_row_major(shape);
  }
  return call;
}

/// Whether the size of something is known only while the program runs, as after tf.boolean_mask.
bool is_dynamic(const ::xla::HloModuleProto& module) {
  for (const ::xla::HloComputationProto& computation : module.computations()) {
    for (const HloInstructionProto& instruction : computation.instructions()) {
      const auto& dynamic = instruction.shape().is_dynamic_dimension();
      if (std::find(dynamic.begin(), dynamic.end(), true) != dynamic.end()) return true;
    }
  }
  return false;
}

}  // namespace

void take_products(::xla::HloModuleProto& module) {
  if (is_dynamic(module) || !are_kernels_there()) return;
  for (::xla::HloComputationProto& computation : *module.mutable_computations()) {
    Instructions instructions;
    for (const HloInstructionProto& instruction : computation.instructions()) {
      instructions[number_of(instruction.id())] = &instruction;
    }
    for (HloInstructionProto& instruction : *computation.mutable_instructions()) {
      if (instruction.opcode() != "dot") continue;
      if (auto call = call_for(instruction, instructions)) instruction = *std::move(call);
    }
  }
}

}  // namespace tfminimize::xla
