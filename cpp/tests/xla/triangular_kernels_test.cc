#include "xla/factorizations/triangular_kernels.h"

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

/// A system in memory without a spare element, so that AddressSanitizer sees what goes beyond. The other triangle of A
/// holds NaNs.
template <typename T>
struct Case {
  Case(std::size_t n, std::size_t sides, bool is_transposed, bool has_sides_in_rows)
      : a(n * n, std::numeric_limits<T>::quiet_NaN()), b(n * sides) {
    const auto step = static_cast<std::ptrdiff_t>(n);
    system.n = n;
    system.sides = sides;
    system.a_row = is_transposed ? 1 : step;
    system.a_column = is_transposed ? step : 1;
    system.x_row = has_sides_in_rows ? 1 : static_cast<std::ptrdiff_t>(sides);
    system.x_side = has_sides_in_rows ? step : 1;
    std::mt19937 random(static_cast<unsigned>(n + 31 * sides));
    std::normal_distribution<T> normal;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < i; ++j) element(i, j) = normal(random) / static_cast<T>(n);
      element(i, i) = 1 + std::abs(normal(random));
    }
    for (T& number : b) number = normal(random);
  }

  T& element(std::size_t i, std::size_t j) {
    return a[static_cast<std::size_t>(static_cast<std::ptrdiff_t>(i) * system.a_row +
                                      static_cast<std::ptrdiff_t>(j) * system.a_column)];
  }
  std::size_t place(std::size_t i, std::size_t side) const {
    return static_cast<std::size_t>(static_cast<std::ptrdiff_t>(i) * system.x_row +
                                    static_cast<std::ptrdiff_t>(side) * system.x_side);
  }

  std::vector<T> solution() const {
    std::vector<T> x = b;
    solve_small(system, a.data(), x.data());
    return x;
  }

  /// The largest residual, over the rounding of as many operations.
  double residual() {
    const std::vector<T> x = solution();
    double largest = 0;
    for (std::size_t i = 0; i < system.n; ++i) {
      for (std::size_t side = 0; side < system.sides; ++side) {
        double rest = b[place(i, side)];
        double size = std::abs(rest);
        for (std::size_t j = 0; j <= i; ++j) {
          const double factor = i == j && system.has_unit_diagonal ? 1 : element(i, j);
          const double term = factor * x[place(j, side)];
          rest -= term;
          size += std::abs(term);
        }
        const double rounding = static_cast<double>(system.n + 2) * std::numeric_limits<T>::epsilon() * size;
        const double error = std::abs(rest) / rounding;
        if (!(error <= largest)) largest = error;
      }
    }
    return largest;
  }

  SmallSystem system;
  std::vector<T> a;
  std::vector<T> b;
};

class TriangularKernelsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!runs_avx2_kernels()) GTEST_SKIP() << "The kernels need AVX2 and FMA.";
  }
};

TEST_F(TriangularKernelsTest, SystemsOfAllSizes) {
  for (const std::size_t n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 33, 100, 256}) {
    for (const std::size_t sides : {1, 2, 4, 5, 8, 9, 12, 13, 16, 17, 24, 25, 41, 50}) {
      for (const bool is_transposed : {false, true}) {
        for (const bool has_sides_in_rows : {false, true}) {
          EXPECT_LE(Case<double>(n, sides, is_transposed, has_sides_in_rows).residual(), 1) << n << " " << sides;
          EXPECT_LE(Case<float>(n, sides, is_transposed, has_sides_in_rows).residual(), 1) << n << " " << sides;
        }
      }
    }
  }
}

TEST_F(TriangularKernelsTest, UnitDiagonalIsNotRead) {
  Case<double> one(19, 14, false, false);
  one.system.has_unit_diagonal = true;
  for (std::size_t i = 0; i < 19; ++i) one.element(i, i) = std::nan("");
  EXPECT_LE(one.residual(), 1);
}

TEST_F(TriangularKernelsTest, UpperTriangleIsReadFromItsEnd) {
  Case<double> lower(21, 10, false, false);
  const std::vector<double> expected = lower.solution();
  // Turned by half, a lower triangle is an upper one, and the solution is upside down.
  Case<double> upper = lower;
  std::reverse(upper.a.begin(), upper.a.end());
  for (std::size_t i = 0; i < 21; ++i) {
    for (std::size_t side = 0; side < 10; ++side) upper.b[upper.place(20 - i, side)] = lower.b[lower.place(i, side)];
  }
  SmallSystem& system = upper.system;
  system.a_row = -system.a_row;
  system.a_column = -system.a_column;
  system.x_row = -system.x_row;
  constexpr std::size_t kLastRow = 200;
  std::vector<double> x = upper.b;
  solve_small(system, &upper.a.back(), &x[kLastRow]);
  for (std::size_t i = 0; i < 21; ++i) {
    for (std::size_t side = 0; side < 10; ++side) EXPECT_EQ(x[(20 - i) * 10 + side], expected[i * 10 + side]);
  }
}

TEST_F(TriangularKernelsTest, SolutionDoesNotDependOnTheOtherSides) {
  const Case<float> all(50, 61, true, false);
  const std::vector<float> together = all.solution();
  for (std::size_t side = 0; side < 61; ++side) {
    Case<float> one(50, 1, true, false);
    one.a = all.a;
    for (std::size_t i = 0; i < 50; ++i) one.b[i] = all.b[i * 61 + side];
    const std::vector<float> alone = one.solution();
    for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(alone[i], together[i * 61 + side]);
  }
}

TEST_F(TriangularKernelsTest, ZeroOnTheDiagonalGivesWhatIsNotFinite) {
  Case<double> one(6, 5, false, false);
  one.element(2, 2) = 0;
  const std::vector<double> x = one.solution();
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(std::isfinite(x[i * 5]), i < 2);
}

}  // namespace
}  // namespace tfminimize::xla
