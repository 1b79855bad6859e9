#include "solvers/lbfgsb/quasi_newton_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/solvers/lbfgsb/model_pairs.h"
#include "tests/solvers/lbfgsb/model_reference.h"

namespace tfminimize::solvers {
namespace {

using testing::AlignedVector;
using testing::bfgs_matrix;
using testing::column_of;
using testing::dot;
using testing::FullStep;
using testing::Iterate;
using testing::kInf;
using testing::Matrix;
using testing::Pair;
using testing::Random;
using testing::relative_difference;
using testing::Vector;

/// A model with the vectors that it works on, and a gradient that the test chooses.
class ModelAt {
 public:
  ModelAt(const Iterate& at, std::size_t m, bool bounded = true)
      : n_(at.size()),
        x_(at.x.begin(), at.x.end()),
        gradient_(at.gradient.begin(), at.gradient.end()),
        lower_(at.lower.begin(), at.lower.end()),
        upper_(at.upper.begin(), at.upper.end()),
        line_start_(2 * num_tiles(n_) * kTile),
        v_(view(bounded)),
        model(v_, m) {
    model.reset();
  }
  ModelAt(const ModelAt&) = delete;
  ModelAt& operator=(const ModelAt&) = delete;

  Vector x() const { return {x_.begin(), x_.end()}; }
  Iterate here() const { return {x(), {gradient_.begin(), gradient_.end()}, to_vector(lower_), to_vector(upper_)}; }
  Vector direction() const { return column_of(model.matrix(), n_, model.matrix().direction_column()); }
  std::vector<Pair> pairs() const {
    std::vector<Pair> all;
    all.reserve(model.matrix().size());
    for (std::size_t k = 0; k < model.matrix().size(); ++k) {
      all.push_back({column_of(model.matrix(), n_, static_cast<std::size_t>(model.matrix().s_column(k))),
                     column_of(model.matrix(), n_, static_cast<std::size_t>(model.matrix().y_column(k)))});
    }
    return all;
  }
  Matrix dense() const { return bfgs_matrix(n_, model.matrix().theta(), pairs()); }

  /// Goes to start + step·d; the gradient changes by y.
  void accept(double step, const Vector& y) {
    const Vector d = direction();
    kernels().move(v_, model.matrix().direction_column(), step);
    for (std::size_t i = 0; i < n_; ++i) gradient_[i] += y[i];
    model.accept(step, step * dot(d, y), true);
  }
  void set_bounds(const Vector& lower, const Vector& upper) {
    std::copy(lower.begin(), lower.end(), lower_.begin());
    std::copy(upper.begin(), upper.end(), upper_.begin());
  }
  /// Goes to a gradient without a pair.
  void set_gradient(const Vector& gradient) {
    std::copy(gradient.begin(), gradient.end(), gradient_.begin());
    model.accept(1, 0, false);
  }

 private:
  static Vector to_vector(const AlignedVector<double>& v) { return {v.begin(), v.end()}; }
  Vectors view(bool bounded) {
    Vectors v;
    v.n = n_;
    v.x = x_.data();
    v.gradient = gradient_.data();
    v.lower = bounded ? lower_.data() : nullptr;
    v.upper = bounded ? upper_.data() : nullptr;
    v.start = line_start_.data();
    v.start_gradient = line_start_.data() + num_tiles(n_) * kTile;
    return v;
  }

  std::size_t n_;
  AlignedVector<double> x_, gradient_, lower_, upper_, line_start_;
  Vectors v_;

 public:
  QuasiNewtonModel model;
};

Iterate random_iterate(std::size_t n, double infinite, double room, Random& random) {
  Iterate at{random.vector(n), random.vector(n), Vector(n), Vector(n)};
  for (std::size_t i = 0; i < n; ++i) {
    at.lower[i] = random.chance(infinite) ? -kInf : at.x[i] - random.uniform(0, room);
    at.upper[i] = random.chance(infinite) ? kInf : at.x[i] + random.uniform(0, room);
    if (random.chance(0.05)) at.lower[i] = at.upper[i] = at.x[i];
  }
  return at;
}

/// y for a step, from a quadratic, so that there is curvature; each time from another one.
Vector random_change(const Vector& s, double smallest, Random& random) {
  return Matrix::positive_definite(s.size(), smallest, random) * s;
}

struct WalkCase {
  const char* name;
  std::size_t n;
  std::size_t m;
  double infinite;  ///< The part of the bounds that are infinite.
  double room;      ///< The largest distance from a bound at the start.
};

std::ostream& operator<<(std::ostream& out, const WalkCase& c) { return out << c.name; }

class QuasiNewtonModelTest : public ::testing::TestWithParam<WalkCase> {
 protected:
  /// Calls check(model, iterate, B) with the model after find_direction() in the steps of random walks.
  template <typename Check>
  void for_random_walks(const Check& check) {
    const WalkCase& c = GetParam();
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
      Random random(seed);
      ModelAt model(random_iterate(c.n, c.infinite, c.room, random), c.m);
      for (int step = 0; step < 12; ++step) {
        const Iterate at = model.here();
        const Matrix b = model.dense();
        const std::optional<DirectionSums> sums = model.model.find_direction();
        if (!sums) break;  // Stationary.
        check(model, at, b, *sums);
        if (HasFatalFailure()) return;
        const double t = std::min(random.uniform(0.3, 1.5), sums->max_step);
        Vector s = model.direction();
        for (double& value : s) value *= t;
        model.accept(t, random_change(s, 0.05, random));
      }
    }
  }
};

TEST_P(QuasiNewtonModelTest, EndOfTheFullStepIsThatOfTheDenseSubspaceProblem) {
  for_random_walks([](const ModelAt& model, const Iterate& at, const Matrix& b, const DirectionSums&) {
    const FullStep expected = full_step(b, at);
    Vector difference(at.size());
    Vector step(at.size());
    for (std::size_t i = 0; i < at.size(); ++i) {
      step[i] = expected.x[i] - at.x[i];
      difference[i] = model.x()[i] - at.x[i];
    }
    ASSERT_LT(relative_difference(difference, step), 1e-6);
  });
}

TEST_P(QuasiNewtonModelTest, DirectionDescends) {
  for_random_walks([](const ModelAt& model, const Iterate& at, const Matrix&, const DirectionSums& sums) {
    const double slope = dot(at.gradient, model.direction());
    ASSERT_LT(slope, 0);
    ASSERT_NEAR(sums.slope, slope, 1e-10 * std::abs(slope));
  });
}

TEST_P(QuasiNewtonModelTest, FullStepStaysInsideTheBounds) {
  for_random_walks([](const ModelAt& model, const Iterate& at, const Matrix&, const DirectionSums& sums) {
    const Vector z = model.x();
    for (std::size_t i = 0; i < at.size(); ++i) ASSERT_TRUE(at.lower[i] <= z[i] && z[i] <= at.upper[i]) << i;
    ASSERT_GE(sums.max_step, 1 - 1e-12);
  });
}

const WalkCase kWalks[] = {
    {"OneVariable", 1, 2, 0, 3},
    {"Tight", 12, 4, 0, 0.3},
    {"Wide", 12, 4, 0, 30},
    {"Mixed", 20, 5, 0.5, 1},
    {"NoBounds", 12, 4, 1, 0},
    {"OnePair", 12, 1, 0.2, 1},
    {"MorePairsThanVariables", 3, 5, 0.2, 1},
};
INSTANTIATE_TEST_SUITE_P(Walks, QuasiNewtonModelTest, ::testing::ValuesIn(kWalks),
                         [](const auto& c) { return c.param.name; });

/// Makes a step s with the change y of the gradient, far from all bounds.
void force_pair(ModelAt& model, const Pair& pair) {
  Vector gradient = model.dense() * pair.s;
  for (double& value : gradient) value = -value;
  model.set_gradient(gradient);
  ASSERT_TRUE(model.model.find_direction());
  ASSERT_LT(relative_difference(model.direction(), pair.s), 1e-12);
  model.accept(1, pair.y);
}

/// B ~ [13.9 2.5; 2.5 0.5], g = (-5, -2): the minimizer of the model is at (-3.5, 21.5), the Cauchy point at
/// (0.36, 0.14). With a bound just beyond it, the projection of the minimizer, (-3.5, 0.15), is uphill.
class QuasiNewtonModelShortenedTest : public ::testing::Test {
 protected:
  QuasiNewtonModelShortenedTest() {
    force_pair(model_, {{-3, 2}, {-5, -1}});
    force_pair(model_, {{0, -2}, {-5, -1}});
    const Vector x = model_.x();
    model_.set_bounds({-kInf, -kInf}, {kInf, x[1] + 0.15});
    model_.set_gradient({-5, -2});
    at_ = model_.here();
  }

  ModelAt model_{{{0, 0}, {0, 0}, {-kInf, -kInf}, {kInf, kInf}}, 2};
  Iterate at_;
};

TEST_F(QuasiNewtonModelShortenedTest, ProjectionWouldBeUphill) {
  EXPECT_TRUE(full_step(model_.dense(), at_).shortened);
}

TEST_F(QuasiNewtonModelShortenedTest, StepEndsAtTheFirstBoundOnTheWayToTheMinimizer) {
  const FullStep expected = full_step(model_.dense(), at_);
  ASSERT_TRUE(model_.model.find_direction());
  EXPECT_NEAR(model_.x()[0], expected.x[0], 1e-9);
  EXPECT_EQ(model_.x()[1], at_.upper[1]);
}

TEST_F(QuasiNewtonModelShortenedTest, StepDescends) {
  const std::optional<DirectionSums> sums = model_.model.find_direction();
  ASSERT_TRUE(sums);
  EXPECT_LT(sums->slope, 0);
  EXPECT_NEAR(sums->slope, dot(at_.gradient, model_.direction()), 1e-12);
}

TEST_F(QuasiNewtonModelShortenedTest, NextModelIsRight) {
  ASSERT_TRUE(model_.model.find_direction());
  const Vector s = model_.direction();
  model_.accept(1, {2 * s[0] + s[1], s[0] + 3 * s[1]});
  const Iterate at = model_.here();
  const FullStep expected = full_step(model_.dense(), at);
  ASSERT_TRUE(model_.model.find_direction());
  EXPECT_LT(relative_difference(model_.x(), expected.x), 1e-9);
}

/// The same problem in several copies, which move together, and with variables that stay at a bound.
class QuasiNewtonModelCopiesTest : public ::testing::TestWithParam<std::vector<double>> {};

TEST_P(QuasiNewtonModelCopiesTest, StepEndsAtTheFirstBoundOnTheWayToTheMinimizer) {
  const std::vector<double>& rooms = GetParam();  // How far the bound of each copy is.
  const std::size_t copies = rooms.size();
  const std::size_t n = 2 * copies + 3;
  const auto repeated = [&](double first, double second) {
    Vector v(n);
    for (std::size_t i = 0; i < copies; ++i) v[2 * i] = first, v[2 * i + 1] = second;
    return v;
  };
  ModelAt model({Vector(n), Vector(n), Vector(n, -kInf), Vector(n, kInf)}, 2);
  force_pair(model, {repeated(-3, 2), repeated(-5, -1)});
  force_pair(model, {repeated(0, -2), repeated(-5, -1)});

  const Vector x = model.x();
  Vector lower(n, -kInf);
  Vector upper(n, kInf);
  Vector gradient = repeated(-5, -2);
  for (std::size_t i = 0; i < copies; ++i) upper[2 * i + 1] = x[2 * i + 1] + rooms[i];
  for (std::size_t i = 2 * copies; i < n; ++i) lower[i] = x[i], gradient[i] = 1;
  model.set_bounds(lower, upper);
  model.set_gradient(gradient);

  const FullStep expected = full_step(model.dense(), model.here());
  ASSERT_TRUE(expected.shortened);
  ASSERT_TRUE(model.model.find_direction());
  EXPECT_LT(relative_difference(model.x(), expected.x), 1e-9);
  const std::size_t first = static_cast<std::size_t>(std::min_element(rooms.begin(), rooms.end()) - rooms.begin());
  EXPECT_EQ(model.x()[2 * first + 1], upper[2 * first + 1]);
}

INSTANTIATE_TEST_SUITE_P(BoundBehindTheCauchyPoint, QuasiNewtonModelCopiesTest,
                         ::testing::Values(std::vector{0.15}, std::vector{0.15, 0.154}, std::vector{0.154, 0.15},
                                           std::vector{0.154, 0.15, 0.152}));
// So far behind it that the step is first taken without it: gᵀB⁻¹g / gᵀg is 0.88 here, and 1.9 / 2 is more.
INSTANTIATE_TEST_SUITE_P(BoundFarBehindTheCauchyPoint, QuasiNewtonModelCopiesTest,
                         ::testing::Values(std::vector{1.9}, std::vector{1.9, 2.1}, std::vector{2.1, 1.9},
                                           std::vector{2.1, 1.9, 2.0}));

TEST(QuasiNewtonModelRandomPlaneTest, ShortenedStepsAreThoseOfTheDenseSubspaceProblem) {
  int shortened = 0;
  for (std::uint64_t seed = 1; shortened < 5; ++seed) {
    ASSERT_LT(seed, 30000U);
    Random random(seed);
    ModelAt model(random_iterate(2, 0, 2, random), 2);
    if (!model.model.find_direction()) continue;
    model.accept(1, random_change(model.direction(), 0.01, random));
    model.set_gradient(random.vector(2));
    const FullStep expected = full_step(model.dense(), model.here());
    if (!expected.shortened) continue;
    ++shortened;
    ASSERT_TRUE(model.model.find_direction());
    EXPECT_LT(relative_difference(model.x(), expected.x), 1e-8);
  }
}

TEST(QuasiNewtonModelUnboundedTest, DirectionIsTheNewtonStep) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    ModelAt model({random.vector(15), random.vector(15), {}, {}}, 4, false);
    for (int step = 0; step < 9; ++step) {
      const Iterate at = model.here();
      Vector expected = model.dense().solve(at.gradient);
      for (double& value : expected) value = -value;
      ASSERT_TRUE(model.model.find_direction());
      ASSERT_LT(relative_difference(model.direction(), expected), 1e-8);
      model.accept(0.8, random_change(model.direction(), 0.05, random));
    }
  }
}

TEST(QuasiNewtonModelUnboundedTest, StationaryPointHasNoDirection) {
  ModelAt model({{1, 2}, {0, 0}, {}, {}}, 2, false);
  EXPECT_FALSE(model.model.find_direction());
  EXPECT_EQ(model.x(), (Vector{1, 2}));
}

TEST(QuasiNewtonModelUnboundedTest, DirectionThatIsNotFiniteIsRefused) {
  ModelAt model({{1, 2}, {1e200, 1}, {}, {}}, 2, false);
  model.model.find_direction();
  model.accept(1, {1e200, 1e200});
  model.model.find_direction();
  for (const double value : model.x()) EXPECT_TRUE(std::isfinite(value));
}

TEST(QuasiNewtonModelBoundedTest, StationaryPointHasNoDirection) {
  ModelAt model({{0, 1, 0.5}, {1, -1, 0}, {0, 0, 0}, {1, 1, 1}}, 2);
  EXPECT_FALSE(model.model.find_direction());
  EXPECT_EQ(model.x(), (Vector{0, 1, 0.5}));
}

TEST(QuasiNewtonModelBoundedTest, FirstStepIsSteepestDescentUpToTheBounds) {
  ModelAt model({{0, 0, 0}, {1, -4, 2}, {-kInf, -kInf, -1}, {kInf, 2, kInf}}, 3);
  ASSERT_TRUE(model.model.find_direction());
  EXPECT_EQ(model.x(), (Vector{-1, 2, -1}));
}

TEST(QuasiNewtonModelBoundedTest, ResetForgetsThePairs) {
  Random random(3);
  ModelAt model(random_iterate(6, 0.5, 2, random), 3);
  ASSERT_TRUE(model.model.find_direction());
  model.accept(1, random_change(model.direction(), 0.1, random));
  EXPECT_EQ(model.model.matrix().size(), 1U);
  model.model.reset();
  EXPECT_EQ(model.model.matrix().size(), 0U);
  const Iterate at = model.here();
  ASSERT_TRUE(model.model.find_direction());
  EXPECT_LT(relative_difference(model.x(), full_step(Matrix::identity(6), at).x), 1e-13);
}

}  // namespace
}  // namespace tfminimize::solvers
