#include "solvers/bounds.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

namespace tfminimize::solvers {
namespace {

using Vector = std::vector<double>;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(BoundsTest, BothMayBeEmpty) {
  Vector x{1, -kInf};
  EXPECT_NO_THROW(check_bounds(2, {}, {}));
  project(x, {}, {});
  EXPECT_EQ(x, (Vector{1, -kInf}));
  EXPECT_TRUE(is_within(x, {}, {}));
}

TEST(BoundsTest, OtherSizesAreRefused) {
  const Vector one{0};
  const Vector two{0, 0};
  EXPECT_THROW(check_bounds(2, one, one), std::invalid_argument);
  EXPECT_THROW(check_bounds(2, two, {}), std::invalid_argument);
  EXPECT_THROW(check_bounds(2, {}, two), std::invalid_argument);
  EXPECT_NO_THROW(check_bounds(2, two, two));
}

TEST(BoundsTest, LowerBoundAboveTheUpperBoundOrNaNIsRefused) {
  EXPECT_THROW(check_bounds(2, Vector{0, 2}, Vector{0, 1}), std::invalid_argument);
  EXPECT_THROW(check_bounds(2, Vector{0, kNaN}, Vector{0, 1}), std::invalid_argument);
  EXPECT_THROW(check_bounds(2, Vector{0, 0}, Vector{kNaN, 1}), std::invalid_argument);
  EXPECT_NO_THROW(check_bounds(2, Vector{-kInf, 1}, Vector{kInf, 1}));
}

TEST(BoundsTest, ProjectionMovesOnlyWhatIsOutside) {
  const Vector lower{0, 0, 0, -kInf, 0};
  const Vector upper{1, 1, 1, kInf, 1};
  Vector x{-2, 0.5, 3, 1e300, kNaN};
  EXPECT_FALSE(is_within(x, lower, upper));
  project(x, lower, upper);
  EXPECT_EQ(Vector(x.begin(), x.end() - 1), (Vector{0, 0.5, 1, 1e300}));
  EXPECT_TRUE(std::isnan(x[4]));
  EXPECT_TRUE(is_within(x, lower, upper));
}

TEST(BoundsTest, ProjectedGradientNormFindsTheLargestAnywhere) {
  for (const std::size_t n : {1, 2, 3, 4, 5, 8, 11, 33}) {
    const Vector x(n, 0);
    const Vector near(n, -0.5);
    const Vector far(n, 5);
    for (std::size_t i = 0; i < n; ++i) {
      Vector g(n, 0.25);
      g[i] = 2;
      EXPECT_EQ(projected_gradient_norm(x, g, {}, {}), 2) << n << ' ' << i;
      EXPECT_EQ(projected_gradient_norm(x, g, near, far), 0.5) << n << ' ' << i;
      g[i] = -3;
      EXPECT_EQ(projected_gradient_norm(x, g, {}, {}), 3) << n << ' ' << i;
      EXPECT_EQ(projected_gradient_norm(x, g, near, far), 3) << n << ' ' << i;
      g[i] = -kInf;
      EXPECT_EQ(projected_gradient_norm(x, g, {}, {}), kInf) << n << ' ' << i;
      EXPECT_EQ(projected_gradient_norm(x, g, near, far), 5) << n << ' ' << i;
      g[i] = kNaN;
      EXPECT_TRUE(std::isnan(projected_gradient_norm(x, g, {}, {}))) << n << ' ' << i;
      EXPECT_TRUE(std::isnan(projected_gradient_norm(x, g, near, far))) << n << ' ' << i;
    }
  }
  EXPECT_EQ(projected_gradient_norm({}, {}, {}, {}), 0);
}

}  // namespace
}  // namespace tfminimize::solvers
