#ifndef TFMINIMIZE_TESTS_SOLVERS_KERNELS_REFERENCE_H_
#define TFMINIMIZE_TESTS_SOLVERS_KERNELS_REFERENCE_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <random>
#include <utility>
#include <vector>

namespace tfminimize::solvers::testing {

inline constexpr double kInf = std::numeric_limits<double>::infinity();
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kEps = std::numeric_limits<double>::epsilon();

using Vector = std::vector<double>;

/// Allocates exactly the bytes that are asked for, at a cache line, so that AddressSanitizer sees a read beyond them.
template <typename T>
struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}  // NOLINT(google-explicit-constructor)

  T* allocate(std::size_t size) { return static_cast<T*>(::operator new(size * sizeof(T), kLine)); }
  void deallocate(T* memory, std::size_t) { ::operator delete(memory, kLine); }
};
template <typename T, typename U>
bool operator==(const LineAllocator<T>&, const LineAllocator<U>&) {
  return true;
}
template <typename T, typename U>
bool operator!=(const LineAllocator<T>&, const LineAllocator<U>&) {
  return false;
}

template <typename T>
using AlignedVector = std::vector<T, LineAllocator<T>>;

/// Random numbers that are the same everywhere, unlike those of the distributions in the standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  /// In [0, 1).
  double unit() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * unit(); }
  /// In [0, count).
  std::size_t below(std::size_t count) { return engine_() % count; }
  bool chance(double probability) { return unit() < probability; }
  /// Of either sign, with a magnitude of [10^low, 10^high].
  double spread(double low, double high) { return (chance(0.5) ? 1 : -1) * std::pow(10.0, uniform(low, high)); }
  Vector vector(std::size_t n, double low = -1, double high = 1) {
    Vector v(n);
    for (double& value : v) value = uniform(low, high);
    return v;
  }

 private:
  std::mt19937_64 engine_;
};

template <typename A, typename B>
double dot(const A& a, const B& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// A dense matrix, for references that are simple, not fast.
class Matrix {
 public:
  Matrix(std::size_t rows, std::size_t columns) : rows_(rows), columns_(columns), elements_(rows * columns) {}

  static Matrix identity(std::size_t n, double scale = 1) {
    Matrix a(n, n);
    for (std::size_t i = 0; i < n; ++i) a(i, i) = scale;
    return a;
  }
  /// Positive definite, with eigenvalues of at least `smallest`.
  static Matrix positive_definite(std::size_t n, double smallest, Random& random) {
    Matrix q(n, n);
    for (double& value : q.elements_) value = random.uniform(-1, 1);
    Matrix a = identity(n, smallest);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        for (std::size_t k = 0; k < n; ++k) a(i, j) += q(i, k) * q(j, k) / static_cast<double>(n);
      }
    }
    return a;
  }

  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  double& operator()(std::size_t i, std::size_t j) { return elements_[i * columns_ + j]; }
  double operator()(std::size_t i, std::size_t j) const { return elements_[i * columns_ + j]; }

  Vector operator*(const Vector& v) const {
    Vector result(rows_);
    for (std::size_t i = 0; i < rows_; ++i) {
      for (std::size_t j = 0; j < columns_; ++j) result[i] += (*this)(i, j) * v[j];
    }
    return result;
  }

  /// The rows and columns in `indices`.
  Matrix principal(const std::vector<std::size_t>& indices) const {
    Matrix a(indices.size(), indices.size());
    for (std::size_t i = 0; i < indices.size(); ++i) {
      for (std::size_t j = 0; j < indices.size(); ++j) a(i, j) = (*this)(indices[i], indices[j]);
    }
    return a;
  }

  /// x with A·x = b, by elimination with pivoting.
  Vector solve(Vector b) const {
    Matrix a = *this;
    for (std::size_t j = 0; j < rows_; ++j) {
      std::size_t pivot = j;
      for (std::size_t i = j + 1; i < rows_; ++i) {
        if (std::abs(a(i, j)) > std::abs(a(pivot, j))) pivot = i;
      }
      for (std::size_t k = 0; k < rows_; ++k) std::swap(a(j, k), a(pivot, k));
      std::swap(b[j], b[pivot]);
      for (std::size_t i = j + 1; i < rows_; ++i) {
        const double factor = a(i, j) / a(j, j);
        for (std::size_t k = j; k < rows_; ++k) a(i, k) -= factor * a(j, k);
        b[i] -= factor * b[j];
      }
    }
    for (std::size_t i = rows_; i-- > 0;) {
      for (std::size_t k = i + 1; k < rows_; ++k) b[i] -= a(i, k) * b[k];
      b[i] /= a(i, i);
    }
    return b;
  }

 private:
  std::size_t rows_;
  std::size_t columns_;
  Vector elements_;
};

/// A correction pair.
struct Pair {
  Vector s;
  Vector y;
};

/// B = θI, updated with each pair in turn: B₊ = B - B·s·sᵀB/(sᵀB·s) + y·yᵀ/(yᵀs).
inline Matrix bfgs_matrix(std::size_t n, double theta, const std::vector<Pair>& pairs) {
  Matrix b = Matrix::identity(n, theta);
  for (const Pair& pair : pairs) {
    const Vector bs = b * pair.s;
    const double sbs = dot(pair.s, bs);
    const double ys = dot(pair.y, pair.s);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) b(i, j) += pair.y[i] * pair.y[j] / ys - bs[i] * bs[j] / sbs;
    }
  }
  return b;
}

/// The largest difference of two vectors, relative to the largest element of the second.
template <typename A, typename B>
double relative_difference(const A& a, const B& b) {
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference = std::fmax(difference, std::isnan(a[i] - b[i]) ? kInf : std::abs(a[i] - b[i]));
    size = std::fmax(size, std::abs(b[i]));
  }
  return difference == 0 ? 0 : difference / size;
}

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_KERNELS_REFERENCE_H_
