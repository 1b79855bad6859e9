#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "driver/drive.h"
#include "objectives/host_objective.h"
#include "solvers/lbfgsb/lbfgsb.h"
#include "solvers/slsqp/slsqp.h"
#include "tests/driver/memory.h"

namespace tfminimize {
namespace {

constexpr std::size_t kSize = 10;
constexpr std::size_t kThreads = 4;
constexpr std::size_t kSolves = 200;

/// Rosenbrock's function.
double rosenbrock(Span<const double> x, Span<double> g) {
  double f = 0;
  for (double& value : g) value = 0;
  for (std::size_t i = 0; i + 1 < x.size(); ++i) {
    const double a = x[i + 1] - x[i] * x[i];
    const double b = 1 - x[i];
    f += 100 * a * a + b * b;
    g[i] += -400 * a * x[i] - 2 * b;
    g[i + 1] += 200 * a;
  }
  return f;
}

/// Its value and the constraint 4 - x'x.
double values_in_a_ball(Span<const double> x, const Buffers& to) {
  to.constraints[0] = 4;
  for (const double value : x) to.constraints[0] -= value * value;
  std::vector<double> gradient(x.size());
  return rosenbrock(x, gradient);
}

void differentiate_in_a_ball(Span<const double> x, const Buffers& to) {
  rosenbrock(x, to.gradient);
  for (std::size_t i = 0; i < x.size(); ++i) to.jacobian[i] = -2 * x[i];
}

std::vector<double> solve_lbfgsb(const std::vector<double>& start) {
  const testing::Memory memory(start);
  HostObjective objective([](Span<const double> x, const Buffers& to) { return rosenbrock(x, to.gradient); });
  solvers::Lbfgsb solver(memory.problem(), {});
  drive(solver, memory.problem(), objective);
  return memory.x();
}

/// Rosenbrock's function in the ball of radius 2.
std::vector<double> solve_slsqp(const std::vector<double>& start) {
  const testing::Memory memory(start, 1);
  HostObjective objective(values_in_a_ball, differentiate_in_a_ball);
  solvers::Slsqp solver(memory.problem(), {});
  drive(solver, memory.problem(), objective);
  return memory.x();
}

std::vector<double> solve(std::size_t i) {
  std::mt19937_64 random(i);
  std::normal_distribution<double> normal;
  std::vector<double> start(kSize);
  for (double& value : start) value = normal(random);
  return i % 2 == 0 ? solve_lbfgsb(start) : solve_slsqp(start);
}

TEST(Threads, GiveTheResultsOfSolvesInTurn) {
  std::vector<std::vector<double>> at_once(kSolves);
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (std::size_t i = next++; i < kSolves; i = next++) at_once[i] = solve(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < kSolves; ++i) EXPECT_EQ(at_once[i], solve(i)) << i;
}

}  // namespace
}  // namespace tfminimize
