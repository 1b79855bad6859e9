#include "solvers/gradient_check.h"

#include <gtest/gtest.h>

#include <limits>

namespace tfminimize::solvers {
namespace {

constexpr double kDouble = std::numeric_limits<double>::epsilon();
constexpr double kFloat = std::numeric_limits<float>::epsilon();

/// Whether the check finds the gradient wrong after a line search has tried φ(t) = f + rise(t) at its steps.
template <typename Rise>
bool is_wrong(double precision, double f, const Rise& rise, double slope = -1) {
  GradientCheck check(precision, f);
  for (double t = 1; t > 1e-20; t /= 10) check.add(t, f + rise(t), rise(t), slope);
  return check.is_wrong();
}

TEST(GradientCheckTest, RiseInProportionToTheStepIsAWrongGradient) {
  for (const double precision : {kDouble, kFloat}) {
    for (const double factor : {1e-2, 1.0, 1e3}) {
      EXPECT_TRUE(is_wrong(precision, 1.0, [=](double t) { return factor * (t + 5 * t * t); })) << precision << factor;
    }
  }
}

TEST(GradientCheckTest, RiseThatStaysIsNoWrongGradient) {
  // Small ones come from terms that cancel in f, large ones from a cliff.
  for (const double rise : {1e-9, 1e-3, 1.0, 1e6}) {
    EXPECT_FALSE(is_wrong(kDouble, 1.0, [=](double) { return rise; })) << rise;
    EXPECT_FALSE(is_wrong(kFloat, 1.0, [=](double) { return rise; })) << rise;
  }
}

TEST(GradientCheckTest, RiseBelowTheRoundingOfTheDtypeIsNoWrongGradient) {
  const auto rise = [](double t) { return 1e-6 * t; };
  EXPECT_FALSE(is_wrong(kFloat, 1.0, rise));
  EXPECT_TRUE(is_wrong(kDouble, 1.0, rise));
}

TEST(GradientCheckTest, LargeValuesOfEarlierIteratesMayHaveLeftTheRise) {
  GradientCheck check(kDouble, 1e12);
  for (double t = 1; t > 1e-20; t /= 10) check.add(t, 1e-3 * t, 1e-3 * t, -1);
  EXPECT_FALSE(check.is_wrong());
}

TEST(GradientCheckTest, RiseThatTheSlopeAdmitsIsNoWrongGradient) {
  EXPECT_FALSE(is_wrong(
      kDouble, 1.0, [](double t) { return t; }, 1.0));
}

}  // namespace
}  // namespace tfminimize::solvers
