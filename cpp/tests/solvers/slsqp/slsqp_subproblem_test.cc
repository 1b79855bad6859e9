#include "solvers/slsqp/slsqp_subproblem.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <vector>

#include "solvers/slsqp/ldlt_factors.h"
#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers {
namespace {

using testing::dot;
using testing::Random;
using testing::relative_difference;
using testing::Vector;

/// A subproblem with its memory.
class Subproblem {
 public:
  explicit Subproblem(std::size_t n, std::size_t m = 0)
      : n_(n),
        gradient(n),
        constraints(m),
        x_(n),
        jacobian_(m * Problem::stride(n)),
        step_(zeros(padded(n + 1))),
        change_(zeros(padded(n + 1))) {}

  double& jacobian(std::size_t i, std::size_t j) { return jacobian_[i * Problem::stride(n_) + j]; }
  /// Call this after setting the sizes of all members below.
  void begin(std::size_t num_equalities = 0) {
    Problem problem;
    problem.x = x_;
    problem.gradient = gradient;
    problem.constraints = constraints;
    problem.jacobian = {jacobian_.data(), jacobian_.size()};
    problem.num_equalities = num_equalities;
    problem.lower = lower;
    problem.upper = upper;
    subproblem = std::make_unique<SlsqpSubproblem>(problem);
  }
  SlsqpStatus solve() { return subproblem->solve(step_.data()); }
  Vector step() const { return {step_.data(), step_.data() + n_}; }
  bool update(const Vector& step, const Vector& change) {
    std::copy(step.begin(), step.end(), step_.data());
    std::copy(change.begin(), change.end(), change_.data());
    return subproblem->update(step_.data(), change_.data());
  }
  /// B⁻¹v, as the step of a problem without constraints.
  Vector inverse_times(const Vector& v) {
    std::transform(v.begin(), v.end(), gradient.begin(), [](double value) { return -value; });
    EXPECT_EQ(solve(), SlsqpStatus::kRunning);
    return step();
  }

 private:
  std::size_t n_;

 public:
  Vector gradient;
  Vector constraints;
  Vector lower;
  Vector upper;
  std::unique_ptr<SlsqpSubproblem> subproblem;

 private:
  Vector x_;
  testing::AlignedVector<double> jacobian_;
  AlignedArray<double> step_;
  AlignedArray<double> change_;
};

class SlsqpModelTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  SlsqpModelTest() { subproblem_.begin(); }

  const std::size_t n_ = GetParam();
  Random random_{n_};
  Subproblem subproblem_{n_};
};

TEST_P(SlsqpModelTest, BeginsAsTheIdentity) {
  const Vector v = random_.vector(n_);
  EXPECT_EQ(subproblem_.inverse_times(v), v);
}

TEST_P(SlsqpModelTest, UpdateSatisfiesTheSecantEquation) {
  const Vector s = random_.vector(n_);
  Vector y = s;
  for (double& value : y) value *= random_.uniform(0.5, 2);
  EXPECT_TRUE(subproblem_.update(s, y));
  EXPECT_LT(relative_difference(subproblem_.inverse_times(y), s), 1e-13);
}

TEST_P(SlsqpModelTest, UpdateOfLittleCurvatureIsDamped) {
  // Powell's r = θ·y + (1 - θ)·B·s replaces y and gives sᵀr = 0.2·sᵀBs; here B is the identity.
  for (const double curvature : {0.1, 0.0, -3.0}) {
    subproblem_.subproblem->reset();
    const Vector s = random_.vector(n_);
    Vector y = s;
    for (double& value : y) value *= curvature;
    EXPECT_TRUE(subproblem_.update(s, y));
    Vector r = s;
    for (double& value : r) value *= 0.2;
    EXPECT_LT(relative_difference(subproblem_.inverse_times(r), s), 1e-13) << curvature;
  }
}

TEST_P(SlsqpModelTest, DampedUpdateIsACombination) {
  const Vector s = random_.vector(n_, 0.5, 1);
  const Vector y = random_.vector(n_, -1, -0.5);
  EXPECT_TRUE(subproblem_.update(s, y));
  const double theta = 0.8 * dot(s, s) / (dot(s, s) - dot(s, y));
  Vector r(n_);
  for (std::size_t i = 0; i < n_; ++i) r[i] = theta * y[i] + (1 - theta) * s[i];
  EXPECT_LT(relative_difference(subproblem_.inverse_times(r), s), 1e-12);
}

TEST_P(SlsqpModelTest, StepOfNoLengthSaysNothing) {
  EXPECT_FALSE(subproblem_.update(Vector(n_), random_.vector(n_)));
  const Vector v = random_.vector(n_);
  EXPECT_EQ(subproblem_.inverse_times(v), v);
}

INSTANTIATE_TEST_SUITE_P(Sizes, SlsqpModelTest, ::testing::Values(1, 2, 7, 8, 9, 20));

TEST(SlsqpSubproblemTest, MultipliersAreSubtracted) {
  Subproblem p(2, 1);
  p.gradient = {1, 1};
  p.constraints = {-3};
  p.jacobian(0, 0) = 2;
  p.begin(1);
  ASSERT_EQ(p.solve(), SlsqpStatus::kRunning);
  EXPECT_EQ(p.step(), (Vector{1.5, -1}));
  EXPECT_EQ(p.subproblem->multipliers(), Vector{1.25});  // s + g = Jᵀλ
  const AlignedArray<double> v = zeros(8);
  v[0] = 7;
  p.subproblem->subtract_constraint_gradients(v.data());
  EXPECT_EQ(v[0], 4.5);
  EXPECT_EQ(v[1], 0);
  EXPECT_FALSE(p.subproblem->relaxed());
  EXPECT_EQ(p.subproblem->feasible_share(), 1);
}

/// s >= 4 and s <= 1, with a gradient.
Subproblem relaxed(double gradient) {
  Subproblem p(1, 1);
  p.gradient = {gradient};
  p.constraints = {-4};
  p.jacobian(0, 0) = 1;
  p.lower = {-9};
  p.upper = {1};
  return p;
}

TEST(SlsqpSubproblemTest, RelaxationTakesBackWhatIsNeeded) {
  Subproblem p = relaxed(0);
  p.begin();
  ASSERT_EQ(p.solve(), SlsqpStatus::kRunning);
  EXPECT_TRUE(p.subproblem->relaxed());
  EXPECT_FALSE(p.subproblem->singular());
  EXPECT_NEAR(p.subproblem->feasible_share(), 0.25, 1e-13);
  EXPECT_NEAR(p.step()[0], 1, 1e-13);
  EXPECT_FALSE(p.subproblem->is_stuck(1e-6));
}

TEST(SlsqpSubproblemTest, PriceOfTheRelaxationIsTheSquareOfAHundred) {
  // Minimise ½s² + 2000·s + ½·ρ²·δ² along s = 4 - 4δ: δ = 2004·4/(ρ² + 16).
  Subproblem p = relaxed(2000);
  p.begin();
  ASSERT_EQ(p.solve(), SlsqpStatus::kRunning);
  EXPECT_NEAR(p.subproblem->feasible_share(), 1 - 2004.0 * 4 / (1e4 + 16), 1e-12);
}

TEST(SlsqpSubproblemTest, ContradictionWithoutAWayOutIsStuck) {
  Subproblem p(1, 2);
  p.constraints = {-1, -1};
  p.jacobian(0, 0) = 1;
  p.jacobian(1, 0) = -1;
  p.begin();
  ASSERT_EQ(p.solve(), SlsqpStatus::kRunning);
  EXPECT_NEAR(p.subproblem->feasible_share(), 0, 1e-13);
  EXPECT_TRUE(p.subproblem->is_stuck(1e-6));
  EXPECT_FALSE(p.subproblem->is_stuck(2));  // Nothing is violated by more than that.
  EXPECT_EQ(p.subproblem->infeasible_status(), SlsqpStatus::kInconsistent);
}

TEST(SlsqpSubproblemTest, ConstraintThatDoesNotDependOnXContradictsNothing) {
  Subproblem p(1, 1);
  p.constraints = {-1};
  p.begin();
  ASSERT_EQ(p.solve(), SlsqpStatus::kRunning);
  EXPECT_NEAR(p.subproblem->feasible_share(), 0, 1e-13);
  EXPECT_FALSE(p.subproblem->is_stuck(1e-6));
}

TEST(SlsqpSubproblemTest, ContradictingEqualitiesAreSingular) {
  Subproblem p(2, 2);
  p.constraints = {-1, -2};
  for (const std::size_t i : {0, 1}) p.jacobian(i, 0) = p.jacobian(i, 1) = 1;
  p.begin(2);
  ASSERT_EQ(p.solve(), SlsqpStatus::kRunning);
  EXPECT_TRUE(p.subproblem->relaxed());
  EXPECT_TRUE(p.subproblem->singular());
  EXPECT_EQ(p.subproblem->infeasible_status(), SlsqpStatus::kSingularEqualities);
}

}  // namespace
}  // namespace tfminimize::solvers
