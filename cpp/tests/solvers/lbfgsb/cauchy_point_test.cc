#include "solvers/lbfgsb/cauchy_point.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/solvers/lbfgsb/model_pairs.h"
#include "tests/solvers/lbfgsb/model_reference.h"

namespace tfminimize::solvers {
namespace {

using testing::add_pair;
using testing::bfgs_matrix;
using testing::CauchyPoint;
using testing::Iterate;
using testing::kInf;
using testing::Matrix;
using testing::ModelPairs;
using testing::Random;
using testing::relative_difference;
using testing::Vector;

constexpr double kTolerance = 1e-9;

/// GeneralizedCauchyPoint with all that it needs.
class CauchySearch {
 public:
  CauchySearch(const CompactBfgsMatrix& b, Iterate at)
      : at_(std::move(at)),
        positions(num_tiles(at_.size()) * kTile),
        cauchy(std::max<std::size_t>(b.size(), 1)),
        room_(at_.size()) {
    Vectors v;
    v.n = at_.size();
    v.x = at_.x.data();
    v.gradient = at_.gradient.data();
    v.lower = at_.lower.data();
    v.upper = at_.upper.data();
    v.w = b.tiles();
    const Columns columns = b.columns();
    const std::vector<std::uint8_t> before(positions.size());
    Vector y_dots(columns.count);
    Vector d_dots(columns.count);
    testing::AlignedVector<double> scratch(scratch_size(v.n, columns.count));
    v.scratch = scratch.data();
    sums = kernels().bounded_update(v, kNoColumn, 1, kNoColumn, before.data(), positions.data(), columns, y_dots.data(),
                                    d_dots.data());
    cauchy.find(v, b, sums, d_dots.data(), positions.data(), room_);
  }

  Vector x() const {
    Vector x = at_.x;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (positions[i] == kFree) x[i] -= cauchy.step() * at_.gradient[i];
      if (positions[i] == kAtLower) x[i] = at_.lower[i];
      if (positions[i] == kAtUpper) x[i] = at_.upper[i];
    }
    return x;
  }

 private:
  Iterate at_;

 public:
  std::vector<std::uint8_t> positions;
  CauchySums sums;
  GeneralizedCauchyPoint cauchy;

 private:
  std::vector<Breakpoint> room_;
};

struct CauchyCase {
  const char* name;
  std::size_t n;
  std::size_t pairs;
  double infinite;  ///< The part of the bounds that are infinite.
  double low;       ///< log10 of the distances of x from its bounds.
  double high;
};

std::ostream& operator<<(std::ostream& out, const CauchyCase& c) { return out << c.name; }

Iterate random_iterate(const CauchyCase& c, Random& random) {
  Iterate at{random.vector(c.n), random.vector(c.n), Vector(c.n), Vector(c.n)};
  for (std::size_t i = 0; i < c.n; ++i) {
    at.lower[i] = random.chance(c.infinite) ? -kInf : at.x[i] - std::abs(random.spread(c.low, c.high));
    at.upper[i] = random.chance(c.infinite) ? kInf : at.x[i] + std::abs(random.spread(c.low, c.high));
    if (random.chance(0.1)) at.gradient[i] = 0;
    if (random.chance(0.1) && std::isfinite(at.lower[i])) at.x[i] = at.lower[i];
    if (random.chance(0.1) && std::isfinite(at.upper[i])) at.x[i] = at.upper[i];
    if (random.chance(0.05)) at.lower[i] = at.upper[i] = at.x[i];
  }
  return at;
}

class CauchyPointTest : public ::testing::TestWithParam<CauchyCase> {
 protected:
  /// Calls check(search, reference, iterate, pairs) for random problems.
  template <typename Check>
  void for_random_problems(const Check& check) {
    const CauchyCase& c = GetParam();
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      ModelPairs model(c.n, std::max<std::size_t>(c.pairs, 1), c.pairs, seed);
      const Iterate at = random_iterate(c, model.random());
      const CauchySearch search(model.matrix, at);
      check(search, cauchy_point(model.dense(), at), at, model);
      if (HasFatalFailure()) return;
    }
  }
};

TEST_P(CauchyPointTest, IsThatOfAWalkAlongThePath) {
  for_random_problems([](const CauchySearch& search, const CauchyPoint& expected, const Iterate&, const ModelPairs&) {
    ASSERT_LT(relative_difference(search.x(), expected.x), kTolerance);
  });
}

TEST_P(CauchyPointTest, StepIsThatOfAWalkAlongThePath) {
  for_random_problems([](const CauchySearch& search, const CauchyPoint& expected, const Iterate&, const ModelPairs&) {
    if (std::count(expected.free.begin(), expected.free.end(), true) == 0) return;  // Then it is of no use.
    ASSERT_NEAR(search.cauchy.step(), expected.t, kTolerance * expected.t);
  });
}

TEST_P(CauchyPointTest, VariablesThatMetABoundAreMarked) {
  for_random_problems(
      [](const CauchySearch& search, const CauchyPoint& expected, const Iterate& at, const ModelPairs&) {
        for (std::size_t i = 0; i < at.size(); ++i) ASSERT_EQ(search.positions[i] == kFree, expected.free[i]) << i;
      });
}

TEST_P(CauchyPointTest, CIsTheProductOfWWithTheStep) {
  for_random_problems(
      [](const CauchySearch& search, const CauchyPoint& expected, const Iterate& at, const ModelPairs& model) {
        const Matrix w = model.w();
        Vector c(w.columns());
        double size = 0;
        for (std::size_t i = 0; i < at.size(); ++i) {
          for (std::size_t j = 0; j < c.size(); ++j) {
            c[j] += w(i, j) * (expected.x[i] - at.x[i]);
            size = std::max(size, std::abs(w(i, j) * (expected.x[i] - at.x[i])));
          }
        }
        for (std::size_t j = 0; j < c.size(); ++j) ASSERT_NEAR(search.cauchy.c()[j], c[j], kTolerance * size);
      });
}

TEST_P(CauchyPointTest, PIsTheProductOfWWithTheFreeGradient) {
  for_random_problems(
      [](const CauchySearch& search, const CauchyPoint& expected, const Iterate& at, const ModelPairs& model) {
        const Matrix w = model.w();
        for (std::size_t j = 0; j < w.columns(); ++j) {
          double p = 0;
          for (std::size_t i = 0; i < at.size(); ++i) p -= expected.free[i] ? w(i, j) * at.gradient[i] : 0;
          ASSERT_NEAR(search.cauchy.p()[j], p, 1e-11 * static_cast<double>(at.size()));
        }
      });
}

const CauchyCase kCases[] = {
    {"OneVariable", 1, 1, 0.3, -2, 1},        {"NoPairs", 20, 0, 0.3, -2, 0},
    {"FewBreakpoints", 20, 3, 0.9, -1, 1},    {"ManyBreakpoints", 60, 5, 0.1, -2, 1},
    {"SpreadBreakpoints", 60, 5, 0.1, -9, 3}, {"NoBounds", 15, 4, 1, 0, 0},
    {"AllEndAtBounds", 30, 4, 0, -6, -4},     {"FarBounds", 30, 4, 0, 3, 4},
};
INSTANTIATE_TEST_SUITE_P(Random, CauchyPointTest, ::testing::ValuesIn(kCases),
                         [](const auto& c) { return c.param.name; });

TEST(CauchyPointOfTiesTest, IsThatOfAWalkAlongThePath) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    ModelPairs model(40, 4, 4, seed);
    Random& random = model.random();
    Iterate at{Vector(40), Vector(40), Vector(40), Vector(40)};
    for (std::size_t i = 0; i < 40; ++i) {
      const double distance = 0.0625 * static_cast<double>(1 + random.below(4));
      at.gradient[i] = random.chance(0.5) ? 1 : -1;
      at.lower[i] = -distance;
      at.upper[i] = distance;
    }
    const CauchySearch search(model.matrix, at);
    EXPECT_LT(relative_difference(search.x(), cauchy_point(model.dense(), at).x), kTolerance) << seed;
  }
}

TEST(CauchyPointOfBatchesTest, MinimumFarBeyondTheFirstBatchIsFound) {
  // Curvature 1 along the first variable and 1e-6 along the others: once the first is at its bound, the minimum is at
  // 1e6 times the step that the start of the path promised.
  const std::size_t n = 24;
  CompactBfgsMatrix b(n, 2, true);
  Vector s(n);
  s[0] = 1;
  Vector others(n, 1);
  others[0] = 0;
  Vector flat = others;
  for (double& value : flat) value *= 1e-6;
  const std::vector<bool> all(n, true);
  add_pair(b, {s, s}, all);
  add_pair(b, {others, flat}, all);
  const Matrix dense = bfgs_matrix(n, b.theta(), {{s, s}, {others, flat}});

  Iterate at{Vector(n), Vector(n, -0.01), Vector(n, -kInf), Vector(n, kInf)};
  at.gradient[0] = -1;
  at.upper[0] = 1e-3;
  for (std::size_t i = 1; i < n; ++i) at.upper[i] = 0.01 * std::pow(2.0, static_cast<double>(i));

  const CauchySearch search(b, at);
  const CauchyPoint expected = cauchy_point(dense, at);
  EXPECT_GT(expected.t, 1e4);
  EXPECT_NEAR(search.cauchy.step(), expected.t, 1e-6 * expected.t);
  EXPECT_LT(relative_difference(search.x(), expected.x), 1e-6);
}

TEST(CauchyPointAtARestTest, StartThatIsStationaryStays) {
  const CompactBfgsMatrix b(3, 2, true);
  const Iterate at{{0, 1, 0.5}, {1, -1, 0}, {0, 0, 0}, {1, 1, 1}};
  const CauchySearch search(b, at);
  EXPECT_EQ(search.x(), at.x);
  EXPECT_EQ(search.positions[0], kAtLower);
  EXPECT_EQ(search.positions[1], kAtUpper);
  EXPECT_EQ(search.positions[2], kFree);
}

}  // namespace
}  // namespace tfminimize::solvers
