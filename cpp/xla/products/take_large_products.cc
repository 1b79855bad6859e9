#include "xla/products/take_large_products.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "xla/factorizations/lapack.h"
#include "xla/nanort/custom_call.h"
#include "xla/nanort/matrices.h"

namespace tfminimize::xla {
namespace {

using ::xla::HloInstructionProto;

/// For smaller products, XLA is as fast.
constexpr int kMinSize = 128;
constexpr double kMinProducts = 256.0 * 256 * 256;

/// Rows of C that one thread computes.
constexpr int kRowsOfPart = 128;

/// `count` products C = op(A) op(B), where C is rows x columns.
struct LargeProduct {
  ::xla::PrimitiveType type = ::xla::F64;
  MatrixProduct reads;
  int rows = 0;
  int columns = 0;
  int summands = 0;
  std::size_t count = 0;
};

/// BLAS sees the transposed matrices, as it reads them column by column: the transpose of C is that of op(B) times that
/// of op(A).
template <typename T>
void multiply(const LargeProduct& call, const T* a, const T* b, T* c) {
  char a_transposed = call.reads.is_left_transposed ? 'T' : 'N';
  char b_transposed = call.reads.is_right_transposed ? 'T' : 'N';
  int a_stride = call.reads.is_left_transposed ? call.rows : call.summands;
  int b_stride = call.reads.is_right_transposed ? call.summands : call.columns;
  int columns = call.columns;
  int summands = call.summands;
  T one = 1;
  T zero = 0;
  const auto size = [](int some, int others) {
    return static_cast<std::size_t>(some) * static_cast<std::size_t>(others);
  };
  const auto parts = static_cast<std::size_t>((call.rows + kRowsOfPart - 1) / kRowsOfPart);
  for_each_call(call.count * parts, [&](std::size_t i) {
    const int first = static_cast<int>(i % parts) * kRowsOfPart;
    int rows = std::min(kRowsOfPart, call.rows - first);
    const std::size_t matrix = i / parts;
    const T* const from =
        a + matrix * size(call.rows, call.summands) + size(first, call.reads.is_left_transposed ? 1 : call.summands);
    lapack<T>().gemm(&b_transposed, &a_transposed, &columns, &rows, &summands, &one,
                     const_cast<T*>(b + matrix * size(call.summands, call.columns)), &b_stride, const_cast<T*>(from),
                     &a_stride, &zero, c + matrix * size(call.rows, call.columns) + size(first, call.columns),
                     &columns);
  });
}

void run(void* result, const void** operands, const char* text, std::size_t, XlaCustomCallStatus*) {
  const auto call = text_of<LargeProduct>(text);
  with_type(call.type, [&](auto type) {
    using T = decltype(type);
    multiply(call, static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]), static_cast<T*>(result));
  });
}

std::optional<HloInstructionProto> call_for(const HloInstructionProto& dot, const Instructions& instructions) {
  static const std::string target = register_kernel("large_product", &run);
  const auto product = matrix_product(dot, instructions);
  if (!product) return std::nullopt;
  const auto& left = instructions.find(dot.operand_ids(0))->shape();
  const auto& right = instructions.find(dot.operand_ids(1))->shape();
  const auto a = matrices(left);
  const auto c = matrices(dot.shape());
  if (!a || !c) return std::nullopt;
  const int summands = product->is_left_transposed ? a->rows : a->columns;
  const double products = static_cast<double>(c->rows) * c->columns * summands;
  if (std::min({c->rows, c->columns, summands}) < kMinSize || products < kMinProducts) return std::nullopt;
  HloInstructionProto call = call_in_place_of(
      dot, target, LargeProduct{dot.shape().element_type(), *product, c->rows, c->columns, summands, c->count});
  add_operand(call, dot.operand_ids(0), left);
  add_operand(call, dot.operand_ids(1), right);
  return call;
}

}  // namespace

void take_large_products(::xla::HloModuleProto& module) {
  if (has_lapack()) replace_instructions(module, call_for);
}

}  // namespace tfminimize::xla
