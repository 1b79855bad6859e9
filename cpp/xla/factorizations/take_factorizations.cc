#include "xla/factorizations/take_factorizations.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "xla/avx2/processor.h"
#include "xla/factorizations/find_triangles.h"
#include "xla/factorizations/lapack.h"
#include "xla/factorizations/take_inverses.h"
#include "xla/factorizations/triangular_kernels.h"
#include "xla/nanort/custom_call.h"
#include "xla/nanort/matrices.h"
#include "xla/nanort/threads.h"

namespace tfminimize::xla {
namespace {

using ::xla::HloInstructionProto;

/// `count` symmetric matrices, n x n, one after the other.
struct Cholesky {
  ::xla::PrimitiveType type = ::xla::F64;
  bool is_lower = true;
  int n = 0;
  std::size_t count = 0;
};

/// `count` systems op(A) X = B, or X op(A) = B, or as many products X = op(A) B, or X = B op(A). A is triangular, B is
/// rows x columns.
struct Triangular {
  ::xla::PrimitiveType type = ::xla::F64;
  bool is_product = false;
  bool is_left = true;
  bool is_lower = true;
  bool is_transposed = false;
  bool has_unit_diagonal = false;
  int rows = 0;
  int columns = 0;
  std::size_t count = 0;

  int n() const { return is_left ? rows : columns; }
};

/// XLA's matrices are stored row by row, LAPACK's column by column: each sees the transposed matrix of the other. So a
/// lower triangle is LAPACK's upper one...
char triangle(bool is_lower) { return is_lower ? 'U' : 'L'; }

template <typename T>
void factorize(const Cholesky& call, const T* a, T* factor) {
  const std::size_t size = static_cast<std::size_t>(call.n) * static_cast<std::size_t>(call.n);
  std::copy_n(a, size * call.count, factor);
  char uplo = triangle(call.is_lower);
  int n = call.n;
  for_each_call(call.count, [&](std::size_t i) {
    T* const matrix = factor + i * size;
    int info = 0;
    lapack<T>().potrf(&uplo, &n, matrix, &n, &info);
    if (info != 0) std::fill_n(matrix, size, std::numeric_limits<T>::quiet_NaN());  // as XLA's own
  });
}

/// ...and op(A) X = B its X' op(A') = B', where the primed ones are what is stored.
template <typename T>
void call_blas(const Triangular& call, int sides, const T* a, T* x) {
  char side = call.is_left ? 'R' : 'L';
  char uplo = triangle(call.is_lower);
  char transposed = call.is_transposed ? 'T' : 'N';
  char diagonal = call.has_unit_diagonal ? 'U' : 'N';
  int rows = call.is_left ? sides : call.columns;
  int columns = call.is_left ? call.rows : sides;
  int n = call.n();
  int stride = call.columns;
  T one = 1;
  (call.is_product ? lapack<T>().trmm : lapack<T>().trsm)(&side, &uplo, &transposed, &diagonal, &rows, &columns, &one,
                                                          const_cast<T*>(a), &n, x, &stride);
}

/// X op(A) = B is the same as (transpose of op(A)) (transpose of X) = (transpose of B).
template <typename T>
void solve_small(const Triangular& call, int sides, const T* a, T* x) {
  const std::ptrdiff_t n = call.n();
  const bool is_transposed = call.is_transposed == call.is_left;
  SmallSystem system;
  system.n = static_cast<std::size_t>(n);
  system.sides = static_cast<std::size_t>(sides);
  system.has_unit_diagonal = call.has_unit_diagonal;
  system.a_row = is_transposed ? 1 : n;
  system.a_column = is_transposed ? n : 1;
  system.x_row = call.is_left ? call.columns : 1;
  system.x_side = call.is_left ? 1 : call.columns;
  if (call.is_lower == is_transposed) {  // upper triangular: from its end
    a += n * n - 1;
    x += (n - 1) * system.x_row;
    system.a_row = -system.a_row;
    system.a_column = -system.a_column;
    system.x_row = -system.x_row;
  }
  solve_small(system, a, x);
}

/// Right-hand sides that one thread solves for.
constexpr int kSidesOfPart = 96;

template <typename T>
void solve_or_multiply(const Triangular& call, const T* a, const T* b, T* x) {
  const auto n = static_cast<std::size_t>(call.n());
  const std::size_t size = static_cast<std::size_t>(call.rows) * static_cast<std::size_t>(call.columns);
  const bool is_small = !call.is_product && n <= kMaxTriangle && runs_avx2_kernels();
  const int sides = call.is_left ? call.columns : call.rows;
  const int parts = (sides + kSidesOfPart - 1) / kSidesOfPart;
  std::copy_n(b, size * call.count, x);
  const auto share_out = is_small ? for_each_part : for_each_call;
  share_out(call.count * static_cast<std::size_t>(parts), [&](std::size_t i) {
    const int first = static_cast<int>(i % static_cast<std::size_t>(parts)) * kSidesOfPart;
    const int some = std::min(kSidesOfPart, sides - first);
    const std::size_t matrix = i / static_cast<std::size_t>(parts);
    const T* const triangle = a + matrix * n * n;
    T* const begin = x + matrix * size + static_cast<std::size_t>(first) * (call.is_left ? 1 : n);
    if (is_small) {
      solve_small(call, some, triangle, begin);
    } else {
      call_blas(call, some, triangle, begin);
    }
  });
}

/// As XLA calls them.
void run_cholesky(void* result, const void** operands, const char* text, std::size_t, XlaCustomCallStatus*) {
  const auto call = text_of<Cholesky>(text);
  with_type(call.type, [&](auto type) {
    using T = decltype(type);
    factorize(call, static_cast<const T*>(operands[0]), static_cast<T*>(result));
  });
}

void run_triangular(void* result, const void** operands, const char* text, std::size_t, XlaCustomCallStatus*) {
  const auto call = text_of<Triangular>(text);
  with_type(call.type, [&](auto type) {
    using T = decltype(type);
    solve_or_multiply(call, static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
                      static_cast<T*>(result));
  });
}

std::optional<HloInstructionProto> cholesky_for(const HloInstructionProto& instruction) {
  static const std::string target = register_kernel("cholesky", &run_cholesky);
  const auto found = matrices(instruction.shape());
  if (!found) return std::nullopt;
  const bool is_lower = instruction.cholesky_options().lower();
  const Cholesky text{instruction.shape().element_type(), is_lower, found->rows, found->count};
  HloInstructionProto call = call_in_place_of(instruction, target, text);
  add_operand(call, instruction.operand_ids(0), instruction.shape());
  return call;
}

/// A call for what was made of a triangular matrix and another one.
std::optional<HloInstructionProto> triangular_call(const HloInstructionProto& instruction,
                                                   const Instructions& instructions, Triangular text, std::int64_t a,
                                                   std::int64_t b) {
  static const std::string target = register_kernel("triangular", &run_triangular);
  const auto found = matrices(instruction.shape());
  const HloInstructionProto* const triangular = instructions.find(a);
  if (!found || triangular == nullptr) return std::nullopt;
  text.type = instruction.shape().element_type();
  text.rows = found->rows;
  text.columns = found->columns;
  text.count = found->count;
  HloInstructionProto call = call_in_place_of(instruction, target, text);
  add_operand(call, a, triangular->shape());
  add_operand(call, b, instruction.shape());
  return call;
}

std::optional<HloInstructionProto> system_for(const HloInstructionProto& instruction,
                                              const Instructions& instructions) {
  const ::xla::TriangularSolveOptions& options = instruction.triangular_solve_options();
  Triangular text;
  text.is_left = options.left_side();
  text.is_lower = options.lower();
  text.is_transposed = options.transpose_a() != ::xla::TriangularSolveOptions::NO_TRANSPOSE;
  text.has_unit_diagonal = options.unit_diagonal();
  return triangular_call(instruction, instructions, text, instruction.operand_ids(0), instruction.operand_ids(1));
}

/// A product with a Cholesky factor, half of whose elements are zero. Small ones are left as they are.
std::optional<HloInstructionProto> product_for(const HloInstructionProto& dot, const Instructions& instructions) {
  for (const OneSided& sides : one_sided_products(dot, instructions)) {
    const auto& shape = instructions.find(sides.a)->shape();
    const bool is_large = shape.dimensions(shape.dimensions_size() - 1) > static_cast<std::int64_t>(kMaxTriangle);
    if (!is_large || !is_cholesky_factor(instructions, sides.a)) continue;
    Triangular text;
    text.is_product = true;
    text.is_left = sides.is_left;
    text.is_transposed = sides.is_transposed;
    return triangular_call(dot, instructions, text, sides.a, sides.b);
  }
  return std::nullopt;
}

std::optional<HloInstructionProto> factorization_for(const HloInstructionProto& instruction,
                                                     const Instructions& instructions) {
  if (instruction.opcode() == "cholesky") return cholesky_for(instruction);
  if (instruction.opcode() == "triangular-solve") return system_for(instruction, instructions);
  return std::nullopt;
}

}  // namespace

void take_factorizations(::xla::HloModuleProto& module) {
  if (!has_lapack()) return;
  take_inverses(module);
  replace_instructions(module, product_for);  // while factors can be told from other matrices
  replace_instructions(module, factorization_for);
}

}  // namespace tfminimize::xla
