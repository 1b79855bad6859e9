#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "driver/drive.h"
#include "objectives/aligned_buffer.h"
#include "objectives/constrained_objective.h"
#include "objectives/host_function.h"

namespace tfminimize {
namespace {

constexpr std::size_t kSize = 10;
constexpr std::size_t kStride = solvers::SlsqpProblem::stride(kSize);
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

/// The same, in the ball of radius 2.
class InABall final : public ConstrainedObjective {
 public:
  double evaluate_values(Span<const double> x, Span<double> c) override {
    c[0] = 4;
    for (const double value : x) c[0] -= value * value;
    return rosenbrock(x, scratch_.span());
  }
  void evaluate_derivatives(Span<const double> x, const Derivatives& derivatives) override {
    rosenbrock(x, derivatives.gradient);
    for (std::size_t i = 0; i < x.size(); ++i) derivatives.jacobian[i] = -2 * x[i];
  }

 private:
  AlignedBuffer<double> scratch_{kSize};
};

std::vector<double> solve_lbfgsb(const std::vector<double>& start) {
  const AlignedBuffer<double> x(kSize);
  const AlignedBuffer<double> g(kSize);
  std::copy(start.begin(), start.end(), x.data());
  HostFunction function(rosenbrock);
  solvers::Lbfgsb solver(x.span(), g.span(), {}, {}, {});
  drive(solver, x.span(), g.span(), function, {}, {});
  return {x.span().begin(), x.span().end()};
}

std::vector<double> solve_slsqp(const std::vector<double>& start) {
  const AlignedBuffer<double> x(kSize);
  const AlignedBuffer<double> g(kSize);
  const AlignedBuffer<double> c(1);
  const AlignedBuffer<double> jacobian(kStride);
  std::copy(start.begin(), start.end(), x.data());
  InABall function;
  solvers::SlsqpProblem problem;
  problem.x = x.span();
  problem.gradient = g.span();
  problem.constraints = c.span();
  problem.jacobian = jacobian.span();
  solvers::Slsqp solver(problem, {});
  drive(solver, problem, function, {}, {});
  return {x.span().begin(), x.span().end()};
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
