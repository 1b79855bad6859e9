#include "objectives/host_objective.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

namespace tfminimize {
namespace {

/// f(x) = x², c(x) = x - 1.
double values(Span<const double> x, const Buffers& to) {
  to.constraints[0] = x[0] - 1;
  return x[0] * x[0];
}

void differentiate(Span<const double> x, const Buffers& to) {
  to.gradient[0] = 2 * x[0];
  to.jacobian[0] = 1;
}

/// f(x) = x²; fills every buffer that is not empty.
double all(Span<const double> x, const Buffers& to) {
  if (!to.gradient.empty()) to.gradient[0] = 2 * x[0];
  return x[0] * x[0];
}

/// The memory of one evaluation at 3.
struct Memory {
  std::vector<double> x{3};
  std::vector<double> c{0};
  std::vector<double> g{0};
  std::vector<double> jacobian = std::vector<double>(8, 0.0);
  Buffers buffers{g, c, jacobian, 8};
};

TEST(HostObjective, EvaluatesValuesAndDerivatives) {
  HostObjective objective(values, differentiate);
  Memory memory;
  EXPECT_EQ(objective.evaluate(memory.x, memory.buffers), 9.0);
  EXPECT_EQ(memory.c[0], 2.0);
  EXPECT_EQ(memory.g[0], 6.0);
  EXPECT_EQ(memory.jacobian[0], 1.0);
}

TEST(HostObjective, ValuesAloneDoNotDifferentiate) {
  const auto fail = [](Span<const double>, const Buffers&) { throw std::domain_error("derivatives"); };
  HostObjective objective(values, fail);
  Memory memory;
  EXPECT_FALSE(objective.is_joint());
  EXPECT_EQ(objective.values(memory.x, memory.buffers), 9.0);
  EXPECT_THROW(objective.derivatives(memory.x, memory.buffers), std::domain_error);
}

TEST(HostObjective, OneFunctionEvaluatesAll) {
  HostObjective objective(all);
  Memory memory;
  EXPECT_TRUE(objective.is_joint());
  EXPECT_EQ(objective.evaluate(memory.x, memory.buffers), 9.0);
  EXPECT_EQ(memory.g[0], 6.0);
}

TEST(HostObjective, OneFunctionWritesOnlyWhatIsAskedFor) {
  HostObjective objective(all);
  Memory memory;
  EXPECT_EQ(objective.values(memory.x, memory.buffers), 9.0);
  EXPECT_EQ(memory.g[0], 0.0);
  objective.derivatives(memory.x, memory.buffers);
  EXPECT_EQ(memory.g[0], 6.0);
}

TEST(HostObjective, NeedsItsFunctions) {
  EXPECT_THROW(HostObjective(nullptr), std::invalid_argument);
  EXPECT_THROW(HostObjective(nullptr, differentiate), std::invalid_argument);
  EXPECT_THROW(HostObjective(values, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace tfminimize
