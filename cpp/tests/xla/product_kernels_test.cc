#include "xla/products/product_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

#include "xla/avx2/processor.h"

namespace tfminimize::xla {
namespace {

/// A product in memory without a spare element, so that AddressSanitizer sees what goes beyond.
template <typename T>
struct Case {
  Case(ProductKind of_kind, const ProductSizes& of_sizes)
      : kind(of_kind), sizes(of_sizes), a(sizes.i * sizes.k), b(sizes.k * sizes.j) {
    std::mt19937 random(static_cast<unsigned>(sizes.i + 31 * sizes.j + 977 * sizes.k));
    std::normal_distribution<T> normal;
    for (std::vector<T>* matrix : {&a, &b}) {
      for (T& element : *matrix) element = normal(random);
    }
  }

  std::vector<T> product() const {
    std::vector<T> c(sizes.i * sizes.j, std::numeric_limits<T>::quiet_NaN());
    multiply_matrices(kind, sizes, a.data(), b.data(), c.data());
    return c;
  }

  T left(std::size_t i, std::size_t k) const {
    return kind == ProductKind::kSum ? a[k * sizes.i + i] : a[i * sizes.k + k];
  }
  T right(std::size_t k, std::size_t j) const {
    return kind == ProductKind::kRowsTransposed ? b[j * sizes.k + k] : b[k * sizes.j + j];
  }

  /// The largest difference from sums in float64, over the rounding of as many additions one after the other.
  double error() const {
    const std::vector<T> c = product();
    double largest = 0;
    for (std::size_t i = 0; i < sizes.i; ++i) {
      for (std::size_t j = 0; j < sizes.j; ++j) {
        double sum = 0;
        double size = 0;
        for (std::size_t k = 0; k < sizes.k; ++k) {
          const double term = static_cast<double>(left(i, k)) * right(k, j);
          sum += term;
          size += std::abs(term);
        }
        const double rounding = static_cast<double>(sizes.k) * std::numeric_limits<T>::epsilon() * size;
        const double error = std::abs(c[i * sizes.j + j] - sum) / rounding;
        if (!(error <= largest)) largest = error;
      }
    }
    return largest;
  }

  ProductKind kind;
  ProductSizes sizes;
  std::vector<T> a;
  std::vector<T> b;
};

class ProductKernelsTest : public testing::TestWithParam<ProductKind> {
 protected:
  void SetUp() override {
    if (!runs_avx2_kernels()) GTEST_SKIP() << "The kernels need AVX2 and FMA.";
  }

  /// The sizes of a product with so many rows and a small matrix.
  static ProductSizes sizes(std::size_t rows, std::size_t first, std::size_t second) {
    if (GetParam() == ProductKind::kSum) return {first, second, rows};
    return {rows, second, first};
  }
};

TEST_P(ProductKernelsTest, ProductsOfAllSizes) {
  for (const std::size_t rows : {1, 3, 32, 63, 64, 65, 129, 300}) {
    for (const std::size_t first : {2, 3, 4, 7, 20, 33, 128}) {
      for (const std::size_t second : {2, 3, 4, 5, 8, 9, 12, 16, 17, 20, 24, 31, 32}) {
        EXPECT_LE((Case<double>(GetParam(), sizes(rows, first, second)).error()), 1)
            << rows << " " << first << " " << second;
        EXPECT_LE((Case<float>(GetParam(), sizes(rows, first, second)).error()), 1)
            << rows << " " << first << " " << second;
      }
    }
  }
  EXPECT_LE((Case<double>(GetParam(), sizes(100, 32, 128)).error()), 1);
  EXPECT_LE((Case<float>(GetParam(), sizes(100, 2, 128)).error()), 1);
}

TEST_P(ProductKernelsTest, SumsOfManyRowsHaveSmallErrors) {
  if (GetParam() != ProductKind::kSum) GTEST_SKIP() << "Not a sum over rows.";
  // In pieces, the error grows with the length of one and with their number.
  EXPECT_LE((Case<float>(GetParam(), sizes(20000, 5, 6)).error()), 0.1);
}

TEST_P(ProductKernelsTest, WhatIsNotFiniteStaysInItsRowAndColumn) {
  Case<double> product(GetParam(), sizes(70, 6, 5));
  const std::vector<double> before = product.product();
  const ProductSizes& at = product.sizes;
  // Element (4, 2) of A, or of its transpose, makes row 4 of C; one of B makes a column.
  product.a[GetParam() == ProductKind::kSum ? 2 * at.i + 4 : 4 * at.k + 2] = std::numeric_limits<double>::infinity();
  product.b[GetParam() == ProductKind::kRowsTransposed ? 3 * at.k + 1 : 1 * at.j + 3] = std::nan("");
  const std::vector<double> after = product.product();
  for (std::size_t i = 0; i < at.i; ++i) {
    for (std::size_t j = 0; j < at.j; ++j) {
      const std::size_t element = i * at.j + j;
      if (i == 4 || j == 3) {
        EXPECT_FALSE(std::isfinite(after[element])) << i << " " << j;
      } else {
        EXPECT_EQ(after[element], before[element]) << i << " " << j;
      }
    }
  }
}

TEST_P(ProductKernelsTest, SameBitsAgain) {
  const Case<float> product(GetParam(), sizes(333, 20, 20));
  EXPECT_EQ(product.product(), product.product());
}

INSTANTIATE_TEST_SUITE_P(Kinds, ProductKernelsTest,
                         testing::Values(ProductKind::kRows, ProductKind::kRowsTransposed, ProductKind::kSum));

}  // namespace
}  // namespace tfminimize::xla
