// The passes over a symmetric matrix in tiles: against loops, and every level with the same bits.

#include "solvers/kernels/triangle_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "solvers/padding.h"
#include "tests/solvers/kernels/reference.h"
#include "tests/solvers/recorded_bits.h"

namespace tfminimize::solvers {
namespace {

using testing::AlignedVector;
using testing::Random;
using testing::RecordedBits;

/// A random symmetric matrix and vectors, padded with zeros.
struct TriangleProblem {
  explicit TriangleProblem(std::size_t size)
      : n(size),
        stripes(padded(size) / kEdge),
        tiles(tiles_before(stripes) * kEdge * kEdge),
        dense(n * n),
        x(padded(n)),
        u(padded(n)),
        s(padded(n)),
        y(padded(n)) {
    Random random(n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        const double h = random.uniform(-1, 1);
        dense[i * n + j] = dense[j * n + i] = h;
        at(i, j) = h;
        if (i / kEdge == j / kEdge) at(j, i) = h;
      }
      x[i] = random.uniform(-1, 1);
      u[i] = random.uniform(-1, 1);
      s[i] = random.uniform(-1, 1);
    }
  }

  double& at(std::size_t i, std::size_t j) {
    return tiles[((tiles_before(i / kEdge) + j / kEdge) * kEdge + i % kEdge) * kEdge + j % kEdge];
  }
  RankTwoUpdate update() const { return {0.7, -0.3, 0.2, 1.1, u.data(), s.data()}; }

  std::size_t n;
  std::size_t stripes;
  AlignedVector<double> tiles;
  std::vector<double> dense;
  AlignedVector<double> x, u, s, y;
};

const std::vector<std::size_t> kSizes{1, 2, 7, 8, 9, 16, 17, 63, 64, 130, 137, 300};

TEST(TriangleKernelsTest, MultiplyByASymmetricMatrix) {
  for (const std::size_t n : kSizes) {
    TriangleProblem p(n);
    triangle_kernels().multiply(p.tiles.data(), {0, p.stripes}, p.x.data(), p.y.data());
    for (std::size_t i = 0; i < n; ++i) {
      double expected = 0;
      for (std::size_t j = 0; j < n; ++j) expected += p.dense[i * n + j] * p.x[j];
      EXPECT_NEAR(p.y[i], expected, 1e-13 * static_cast<double>(n)) << n;
    }
  }
}

TEST(TriangleKernelsTest, UpdateAndMultiplyInOnePass) {
  for (const std::size_t n : kSizes) {
    TriangleProblem p(n);
    const RankTwoUpdate c = p.update();
    triangle_kernels().update_and_multiply(p.tiles.data(), {0, p.stripes}, c, p.x.data(), p.y.data());
    for (std::size_t i = 0; i < n; ++i) {
      double expected = 0;
      for (std::size_t j = 0; j < n; ++j) {
        const double h = c.h * p.dense[i * n + j] + c.uu * p.u[i] * p.u[j] +
                         c.us * (p.u[i] * p.s[j] + p.s[i] * p.u[j]) + c.ss * p.s[i] * p.s[j];
        if (j <= i) {
          EXPECT_NEAR(p.at(i, j), h, 1e-14) << n;
        }
        expected += h * p.x[j];
      }
      EXPECT_NEAR(p.y[i], expected, 1e-13 * static_cast<double>(n)) << n;
    }
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = i / kEdge * kEdge; j < i; ++j) EXPECT_EQ(p.at(i, j), p.at(j, i));
    }
  }
}

TEST(TriangleKernelsTest, ChangeOnlyTheirStripes) {
  TriangleProblem p(64);
  const AlignedVector<double> before = p.tiles;
  triangle_kernels().update_and_multiply(p.tiles.data(), {3, 5}, p.update(), p.x.data(), p.y.data());
  const std::size_t begin = tiles_before(3) * kEdge * kEdge;
  const std::size_t end = tiles_before(5) * kEdge * kEdge;
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i] == p.tiles[i], i < begin || i >= end) << i;
  for (std::size_t i = 5 * kEdge; i < p.y.size(); ++i) EXPECT_EQ(p.y[i], 0);
}

TEST(TriangleKernelsTest, AllLevelsGiveTheSameBits) {
  RecordedBits recorded;
  for (const std::size_t n : kSizes) {
    TriangleProblem first(n);
    const TriangleKernels& base = *triangle_kernels_for("v1");
    base.update_and_multiply(first.tiles.data(), {0, first.stripes}, first.update(), first.x.data(), first.y.data());
    base.multiply(first.tiles.data(), {0, first.stripes}, first.u.data(), first.y.data());
    recorded.add(first.tiles);
    recorded.add(first.y);
    for (const char* level : {"v3", "v4"}) {
      const TriangleKernels* kernels = triangle_kernels_for(level);
      if (kernels == nullptr) continue;  // This machine does not run it.
      TriangleProblem p(n);
      kernels->update_and_multiply(p.tiles.data(), {0, p.stripes}, p.update(), p.x.data(), p.y.data());
      kernels->multiply(p.tiles.data(), {0, p.stripes}, p.u.data(), p.y.data());
      EXPECT_EQ(std::memcmp(p.tiles.data(), first.tiles.data(), p.tiles.size() * sizeof(double)), 0) << level;
      EXPECT_EQ(std::memcmp(p.y.data(), first.y.data(), p.y.size() * sizeof(double)), 0) << level;
    }
  }
}

}  // namespace
}  // namespace tfminimize::solvers
