#include "solvers/threads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "driver/drive.h"
#include "objectives/host_objective.h"
#include "solvers/lbfgsb/lbfgsb.h"
#include "solvers/slsqp/slsqp.h"
#include "tests/driver/memory.h"
#include "tests/driver/thread_ids.h"

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

/// Calls use(i) for each i, in several threads.
template <typename Use>
void in_threads(std::size_t count, const Use& use) {
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (std::size_t i = next++; i < count; i = next++) use(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Threads, GiveTheResultsOfSolvesInTurn) {
  std::vector<std::vector<double>> at_once(kSolves);
  in_threads(kSolves, [&](std::size_t i) { at_once[i] = solve(i); });
  for (std::size_t i = 0; i < kSolves; ++i) EXPECT_EQ(at_once[i], solve(i)) << i;
}

/// A few iterations on a vector that is long enough for the pool.
std::vector<double> solve_large(std::size_t i) {
  constexpr std::size_t kLarge = solvers::kFewest * solvers::kChunk * solvers::kTile;
  std::vector<double> start(kLarge);
  for (std::size_t k = 0; k < kLarge; ++k) start[k] = 1e-3 * static_cast<double>((k + i) % 1000);
  const testing::Memory memory(start);
  HostObjective objective([](Span<const double> x, const Buffers& to) { return rosenbrock(x, to.gradient); });
  solvers::LbfgsbOptions options;
  options.maxcor = 3;
  options.maxiter = 5;
  options.storage = i % 2 == 0 ? solvers::Storage::kFloat64 : solvers::Storage::kFloat32;
  solvers::Lbfgsb solver(memory.problem(), options);
  drive(solver, memory.problem(), objective);
  return memory.x();
}

TEST(Threads, OfThePoolServeManySolvesAtOnce) {
  constexpr std::size_t kLargeSolves = 6;
  std::vector<std::vector<double>> at_once(kLargeSolves);
  in_threads(kLargeSolves, [&](std::size_t i) {
    solvers::set_num_threads(2 + i % 2);  // At any time.
    at_once[i] = solve_large(i);
  });
  solvers::set_num_threads(1);
  for (std::size_t i = 0; i < kLargeSolves; ++i) EXPECT_TRUE(at_once[i] == solve_large(i)) << i;
  solvers::set_num_threads(0);
}

TEST(Threads, InASerialScopeStayWhereTheyAre) {
  solvers::set_num_threads(4);
  const solvers::SerialScope serial;
  EXPECT_EQ(testing::threads_of_calls(), std::set<std::thread::id>{std::this_thread::get_id()});
  solvers::set_num_threads(0);
}

}  // namespace
}  // namespace tfminimize
