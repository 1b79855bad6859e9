#include "xla/lapack/take_factorizations.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <type_traits>

#include "xla/nanort/custom_call.h"

namespace tfminimize::xla {
namespace {

using ::xla::HloInstructionProto;
using ::xla::ShapeProto;

/// Null until there is a library, which then stays.
std::atomic<const Lapack*> library{nullptr};

template <typename T>
const LapackFunctions<T>& functions() {
  if constexpr (std::is_same_v<T, double>) {
    return library.load()->doubles;
  } else {
    return library.load()->floats;
  }
}

/// `count` symmetric matrices, n x n, one after the other.
struct Cholesky {
  ::xla::PrimitiveType type = ::xla::F64;
  bool is_lower = true;
  int n = 0;
  std::size_t count = 0;
};

/// `count` systems op(A) X = B, or X op(A) = B; B is rows x columns.
struct TriangularSystem {
  ::xla::PrimitiveType type = ::xla::F64;
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
void factorize(Cholesky call, const T* a, T* factor) {
  const std::size_t size = static_cast<std::size_t>(call.n) * static_cast<std::size_t>(call.n);
  std::copy_n(a, size * call.count, factor);
  char uplo = triangle(call.is_lower);
  for (std::size_t i = 0; i < call.count; ++i, factor += size) {
    int info = 0;
    functions<T>().potrf(&uplo, &call.n, factor, &call.n, &info);
    if (info != 0) std::fill_n(factor, size, std::numeric_limits<T>::quiet_NaN());  // as XLA's own
  }
}

/// OpenBLAS uses threads unless it has fewer right-hand sides than eight. For smaller matrices than this, to wake them
/// takes longer than they save, and a thousand times longer where the cores are busy, as with the other solves of a
/// batch.
constexpr int kSmall = 256;
constexpr int kForOneThread = 7;

/// ...and op(A) X = B its X' op(A') = B', where the primed ones are what is stored.
template <typename T>
void solve(TriangularSystem call, const T* a, const T* b, T* x) {
  const auto n = static_cast<std::size_t>(call.n());
  const auto stride_b = static_cast<std::size_t>(call.columns);
  const std::size_t size = static_cast<std::size_t>(call.rows) * stride_b;
  std::copy_n(b, size * call.count, x);
  char side = call.is_left ? 'R' : 'L';
  char uplo = triangle(call.is_lower);
  char transposed = call.is_transposed ? 'T' : 'N';
  char diagonal = call.has_unit_diagonal ? 'U' : 'N';
  int stride = call.n();
  T one = 1;
  const int sides = call.is_left ? call.columns : call.rows;
  const int most = call.n() < kSmall ? kForOneThread : sides;
  for (std::size_t i = 0; i < call.count; ++i, a += n * n, x += size) {
    for (int first = 0; first < sides; first += most) {
      int some = std::min(most, sides - first);
      T* const part = x + static_cast<std::size_t>(first) * (call.is_left ? 1 : stride_b);
      functions<T>().trsm(&side, &uplo, &transposed, &diagonal, call.is_left ? &some : &call.columns,
                          call.is_left ? &call.rows : &some, &one, const_cast<T*>(a), &stride, part, &call.columns);
    }
  }
}

template <typename Call>
Call call_of(const char* text) {
  Call call;
  std::memcpy(&call, text, sizeof call);
  return call;
}

/// As XLA calls them.
void run_cholesky(void* result, const void** operands, const char* text, std::size_t, XlaCustomCallStatus*) {
  const auto call = call_of<Cholesky>(text);
  if (call.type == ::xla::F64) {
    factorize(call, static_cast<const double*>(operands[0]), static_cast<double*>(result));
  } else {
    factorize(call, static_cast<const float*>(operands[0]), static_cast<float*>(result));
  }
}

void run_triangular_system(void* result, const void** operands, const char* text, std::size_t, XlaCustomCallStatus*) {
  const auto call = call_of<TriangularSystem>(text);
  if (call.type == ::xla::F64) {
    solve(call, static_cast<const double*>(operands[0]), static_cast<const double*>(operands[1]),
          static_cast<double*>(result));
  } else {
    solve(call, static_cast<const float*>(operands[0]), static_cast<const float*>(operands[1]),
          static_cast<float*>(result));
  }
}

/// The sizes of a stack of matrices.
struct Matrices {
  int rows = 0;
  int columns = 0;
  std::size_t count = 0;
};

/// Empty if LAPACK cannot take them.
std::optional<Matrices> matrices(const ShapeProto& shape) {
  const auto& sizes = shape.dimensions();
  if (shape.element_type() != ::xla::F64 && shape.element_type() != ::xla::F32) return std::nullopt;
  const auto is_possible = [](std::int64_t size) { return 0 < size && size <= std::numeric_limits<int>::max(); };
  if (!std::all_of(sizes.begin(), sizes.end(), is_possible)) return std::nullopt;
  const auto matrix = sizes.end() - 2;
  const auto count = std::accumulate(sizes.begin(), matrix, std::int64_t{1}, std::multiplies<>());
  return Matrices{static_cast<int>(matrix[0]), static_cast<int>(matrix[1]), static_cast<std::size_t>(count)};
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

std::optional<HloInstructionProto> triangular_system_for(const HloInstructionProto& instruction,
                                                         const Instructions& instructions) {
  static const std::string target = register_kernel("triangular_system", &run_triangular_system);
  const auto found = matrices(instruction.shape());
  const HloInstructionProto* const a = instructions.find(instruction.operand_ids(0));
  if (!found || a == nullptr) return std::nullopt;
  const ::xla::TriangularSolveOptions& options = instruction.triangular_solve_options();
  const TriangularSystem text{instruction.shape().element_type(),
                              options.left_side(),
                              options.lower(),
                              options.transpose_a() != ::xla::TriangularSolveOptions::NO_TRANSPOSE,
                              options.unit_diagonal(),
                              found->rows,
                              found->columns,
                              found->count};
  HloInstructionProto call = call_in_place_of(instruction, target, text);
  add_operand(call, instruction.operand_ids(0), a->shape());
  add_operand(call, instruction.operand_ids(1), instruction.shape());
  return call;
}

std::optional<HloInstructionProto> call_for(const HloInstructionProto& instruction, const Instructions& instructions) {
  if (instruction.opcode() == "cholesky") return cholesky_for(instruction);
  if (instruction.opcode() == "triangular-solve") return triangular_system_for(instruction, instructions);
  return std::nullopt;
}

}  // namespace

void set_lapack(const Lapack& lapack) {
  static const Lapack first = lapack;
  library = &first;
}

void take_factorizations(::xla::HloModuleProto& module) {
  if (library.load() != nullptr) replace_instructions(module, call_for);
}

}  // namespace tfminimize::xla
