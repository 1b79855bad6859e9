#include "objectives/constrained_host_function.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

namespace tfminimize {
namespace {

/// f(x) = x², c(x) = x - 1.
double values(Span<const double> x, Span<double> c) {
  c[0] = x[0] - 1;
  return x[0] * x[0];
}

void differentiate(Span<const double> x, const Derivatives& derivatives) {
  derivatives.gradient[0] = 2 * x[0];
  derivatives.jacobian[0] = 1;
}

/// The memory of one evaluation at 3.
struct Memory {
  std::vector<double> x{3};
  std::vector<double> c{0};
  std::vector<double> g{0};
  std::vector<double> jacobian = std::vector<double>(8, 0.0);
  Derivatives derivatives{g, jacobian, 8};
};

TEST(ConstrainedHostFunction, EvaluatesValuesAndDerivatives) {
  ConstrainedHostFunction function(values, differentiate);
  Memory memory;
  EXPECT_EQ(function.evaluate(memory.x, memory.c, memory.derivatives), 9.0);
  EXPECT_EQ(memory.c[0], 2.0);
  EXPECT_EQ(memory.g[0], 6.0);
  EXPECT_EQ(memory.jacobian[0], 1.0);
}

TEST(ConstrainedHostFunction, ValuesAloneDoNotDifferentiate) {
  const auto fail = [](Span<const double>, const Derivatives&) { throw std::domain_error("derivatives"); };
  ConstrainedHostFunction function(values, fail);
  Memory memory;
  EXPECT_FALSE(function.is_joint());
  EXPECT_EQ(function.evaluate_values(memory.x, memory.c), 9.0);
  EXPECT_THROW(function.evaluate_derivatives(memory.x, memory.derivatives), std::domain_error);
}

TEST(ConstrainedHostFunction, NeedsBothFunctions) {
  EXPECT_THROW(ConstrainedHostFunction(nullptr, differentiate), std::invalid_argument);
  EXPECT_THROW(ConstrainedHostFunction(values, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace tfminimize
