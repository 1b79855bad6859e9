// Compiled once for each level of the processor, under the same rules as kernels.cc.

#include "solvers/kernels/dense_kernels.h"

#include "solvers/kernels/lanes.h"

namespace tfminimize::solvers {
namespace {

constexpr std::size_t kLanes = 8;
constexpr std::size_t kGroup = 4;  // This many vectors keep their sums in registers together.

TFMINIMIZE_INLINE double lane(const V8& v, std::size_t k) { return v.part[k / kPartLanes][k % kPartLanes]; }

double dot(std::size_t n, const double* x, const double* y) {
  V8 sums[kGroup] = {};
  std::size_t i = 0;
  for (; i + kGroup * kLanes <= n; i += kGroup * kLanes) {
    for (std::size_t k = 0; k < kGroup; ++k) {
      sums[k] = sums[k] + load(x + i + k * kLanes) * load(y + i + k * kLanes);
    }
  }
  for (; i < n; i += kLanes) sums[0] = sums[0] + load(x + i) * load(y + i);
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

void add(std::size_t n, double a, const double* x, double* y) {
  const V8 factor = broadcast(a);
  for (std::size_t i = 0; i < n; i += kLanes) store(y + i, load(y + i) + factor * load(x + i));
}

void rotate(std::size_t n, double c, double s, double* x, double* y) {
  const V8 cosine = broadcast(c);
  const V8 sine = broadcast(s);
  for (std::size_t i = 0; i < n; i += kLanes) {
    const V8 a = load(x + i);
    const V8 b = load(y + i);
    store(x + i, cosine * a + sine * b);
    store(y + i, cosine * b - sine * a);
  }
}

/// The products of kCount rows with x from `begin` on.
template <std::size_t kCount>
TFMINIMIZE_INLINE void row_products(std::size_t begin, std::size_t n, const double* rows, std::size_t stride,
                                    const double* x, double* products) {
  V8 sums[kCount] = {};
  for (std::size_t i = begin; i < n; i += kLanes) {
    const V8 v = load(x + i);
    for (std::size_t k = 0; k < kCount; ++k) sums[k] = sums[k] + load(rows + k * stride + i) * v;
  }
  for (std::size_t k = 0; k < kCount; ++k) products[k] = sum(sums[k]);
}

void multiply(std::size_t rows, std::size_t n, const double* a, std::size_t stride, const double* x, double* y) {
  std::size_t row = 0;
  for (; row + kGroup <= rows; row += kGroup) row_products<kGroup>(0, n, a + row * stride, stride, x, y + row);
  for (; row < rows; ++row) row_products<1>(0, n, a + row * stride, stride, x, y + row);
}

/// y += Σ coefficients_k·row_k from `begin` on.
template <std::size_t kCount>
TFMINIMIZE_INLINE void add_rows(std::size_t begin, std::size_t n, const double* rows, std::size_t stride,
                                const double* coefficients, double* y) {
  V8 factors[kCount];
  for (std::size_t k = 0; k < kCount; ++k) factors[k] = broadcast(coefficients[k]);
  for (std::size_t i = begin; i < n; i += kLanes) {
    V8 v = load(y + i);
    for (std::size_t k = 0; k < kCount; ++k) v = v + factors[k] * load(rows + k * stride + i);
    store(y + i, v);
  }
}

void multiply_transposed(std::size_t rows, std::size_t n, const double* a, std::size_t stride, const double* x,
                         double* y) {
  std::size_t row = 0;
  for (; row + kGroup <= rows; row += kGroup) add_rows<kGroup>(0, n, a + row * stride, stride, x + row, y);
  for (; row < rows; ++row) add_rows<1>(0, n, a + row * stride, stride, x + row, y);
}

/// x = L⁻¹x for kCount vectors at once: eight columns of L at a time, first their triangle, then the rows below it.
template <std::size_t kCount>
TFMINIMIZE_INLINE void solve_group(std::size_t n, const double* l, std::size_t stride, std::size_t first, double* x,
                                   std::size_t stride_x) {
  for (std::size_t begin = first; begin < n; begin += kLanes) {
    const double* columns = l + begin * stride;
    double done[kCount][kLanes];
    for (std::size_t k = 0; k < kCount; ++k) {
      V8 v = load(x + k * stride_x + begin);
#pragma GCC unroll 8
      for (std::size_t c = 0; c < kLanes; ++c) {
        done[k][c] = lane(v, c);
        v = v - broadcast(done[k][c]) * load(columns + c * stride + begin);
      }
      store(x + k * stride_x + begin, v);
    }
    for (std::size_t i = begin + kLanes; i < n; i += kLanes) {
      V8 v[kCount];
      for (std::size_t k = 0; k < kCount; ++k) v[k] = load(x + k * stride_x + i);
      for (std::size_t c = 0; c < kLanes; ++c) {
        const V8 column = load(columns + c * stride + i);
        for (std::size_t k = 0; k < kCount; ++k) v[k] = v[k] - broadcast(done[k][c]) * column;
      }
      for (std::size_t k = 0; k < kCount; ++k) store(x + k * stride_x + i, v[k]);
    }
  }
}

void solve(std::size_t n, const double* l, std::size_t stride, std::size_t first, std::size_t count, double* x,
           std::size_t stride_x) {
  std::size_t k = 0;
  for (; k + kGroup <= count; k += kGroup) solve_group<kGroup>(n, l, stride, first, x + k * stride_x, stride_x);
  for (; k < count; ++k) solve_group<1>(n, l, stride, first, x + k * stride_x, stride_x);
}

void solve_transposed(std::size_t n, const double* l, std::size_t stride, double* x) {
  for (std::size_t begin = (n + kLanes - 1) / kLanes * kLanes; begin > 0;) {
    begin -= kLanes;
    const double* columns = l + begin * stride;
    double below[kLanes];
    row_products<kGroup>(begin + kLanes, n, columns, stride, x, below);
    row_products<kGroup>(begin + kLanes, n, columns + kGroup * stride, stride, x, below + kGroup);
    for (std::size_t c = kLanes; c-- > 0;) {
      double value = x[begin + c] - below[c];
      for (std::size_t i = c + 1; i < kLanes; ++i) value -= columns[c * stride + begin + i] * x[begin + i];
      x[begin + c] = value;
    }
  }
}

/// How one column of L changes: l = keep·l + gain·z and z = z - value·l, in this order if `grows`, else in the other.
struct ColumnChange {
  double value = 0;
  double gain = 0;
  double keep = 1;
  bool grows = false;
};

void update(std::size_t n, double* l, std::size_t stride, double* d, double t, const double* next, double* z) {
  for (std::size_t begin = 0; begin < n; begin += kLanes) {
    const std::size_t count = n - begin < kLanes ? n - begin : kLanes;
    double* columns = l + begin * stride;
    ColumnChange changes[kLanes];
    for (std::size_t c = 0; c < count; ++c) {
      const std::size_t j = begin + c;
      ColumnChange& change = changes[c];
      change.value = z[j];
      const double delta = z[j] / d[j];
      const double t_next = next != nullptr ? next[j] : t + delta * z[j];
      const double alpha = t_next / t;
      d[j] *= alpha;
      change.gain = delta / t_next;
      change.grows = alpha > 4;  // The other order would lose digits.
      if (change.grows) change.keep = t / t_next;
      t = t_next;
      for (std::size_t i = j + 1; i < begin + kLanes; ++i) {
        double& element = columns[c * stride + i];
        const double before = element;
        if (change.grows) element = change.keep * before + change.gain * z[i];
        z[i] -= change.value * before;
        if (!change.grows) element = before + change.gain * z[i];
      }
    }
    for (std::size_t i = begin + kLanes; i < n; i += kLanes) {
      V8 v = load(z + i);
      for (std::size_t c = 0; c < kLanes; ++c) {
        const ColumnChange& change = changes[c];
        double* element = columns + c * stride + i;
        const V8 before = load(element);
        const V8 rest = v - broadcast(change.value) * before;
        store(element, change.grows ? broadcast(change.keep) * before + broadcast(change.gain) * v
                                    : before + broadcast(change.gain) * rest);
        v = rest;
      }
      store(z + i, v);
    }
  }
}

}  // namespace

namespace TFMINIMIZE_LEVEL {
extern const DenseKernels kDenseKernels;
const DenseKernels kDenseKernels = {dot, add, rotate, multiply, multiply_transposed, solve, solve_transposed, update};
}  // namespace TFMINIMIZE_LEVEL

}  // namespace tfminimize::solvers
