// The constructor of a solver allocates its memory; a solve allocates nothing.

#include "tests/solvers/allocations.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <ostream>
#include <string>
#include <vector>

#include "solvers/aligned_array.h"
#include "tests/solvers/slsqp/constrained_solve.h"
#include "tests/solvers/solve.h"

namespace {

thread_local std::size_t count = 0;

}  // namespace

// The whole executable allocates here. (The compiler takes inlined calls for a mistake.)

__attribute__((noinline)) void* operator new(std::size_t bytes) {
  ++count;
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
__attribute__((noinline)) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  ++count;
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}

namespace tfminimize::solvers {

namespace testing {

std::size_t num_allocations() { return count; }

}  // namespace testing

namespace {

using testing::AllocationsCounted;
using testing::bounded_rosenbrock;
using testing::ConstrainedProblem;
using testing::ConstrainedSolve;
using testing::Derivatives;
using testing::Problem;
using testing::quartic;
using testing::rosenbrock_problem;
using testing::Solve;
using testing::Vector;
using testing::without_constraints;

TEST(AllocationsTest, AreCounted) {
  std::size_t sum = 0;
  {
    const AllocationsCounted counted(sum);
    const std::vector<double> by_new(10);
    const AlignedArray<double> by_aligned_alloc(10);
  }
  EXPECT_EQ(sum, 2);
}

TEST(AllocationsTest, LbfgsbMakesNoneInASolve) {
  LbfgsbOptions few;
  few.maxcor = 3;  // So that the solver drops old pairs.
  for (const std::size_t n : {1, 2, 11, 100}) {
    for (const Problem& problem : {rosenbrock_problem(n), bounded_rosenbrock(n, 4)}) {
      for (const LbfgsbOptions& options : {LbfgsbOptions(), few}) {
        Solve solve(problem, options);
        solve.finish();
        solve.restart(problem.x0);
        solve.finish();
        EXPECT_EQ(solve.allocations, 0) << n;
      }
    }
  }
}

TEST(AllocationsTest, BfgsMakesNoneInASolve) {
  for (const std::size_t n : {1, 2, 11, 100}) {
    testing::BfgsSolve solve(rosenbrock_problem(n));
    solve.finish();
    solve.restart(solve.problem().x0);
    solve.finish();
    EXPECT_EQ(solve.allocations, 0) << n;
  }
}

struct NamedProblem {
  std::string name;
  ConstrainedProblem problem;
};

std::ostream& operator<<(std::ostream& out, const NamedProblem& p) { return out << p.name; }

class SlsqpAllocationsTest : public ::testing::TestWithParam<NamedProblem> {};

TEST_P(SlsqpAllocationsTest, NoneInASolve) {
  const ConstrainedProblem& problem = GetParam().problem;
  for (const Derivatives derivatives : {Derivatives::kWithValues, Derivatives::kApart}) {
    ConstrainedSolve solve(problem, {}, derivatives);
    solve.finish();
    solve.restart(problem.x0);
    solve.finish();
    EXPECT_EQ(solve.allocations, 0);
  }
}

/// Two dependent rows; the solver has to find that out.
ConstrainedProblem with_a_row_twice(ConstrainedProblem problem) {
  problem.constraints.push_back(problem.constraints.back());
  if (!problem.offsets.empty()) problem.offsets.push_back(problem.offsets.back());
  return problem;
}

INSTANTIATE_TEST_SUITE_P(Problems, SlsqpAllocationsTest,
                         ::testing::Values(NamedProblem{"Unconstrained", without_constraints(rosenbrock_problem(5))},
                                           NamedProblem{"BoundsAlone", without_constraints(bounded_rosenbrock(11, 4))},
                                           NamedProblem{"ManyBounds", without_constraints(bounded_rosenbrock(100, 4))},
                                           NamedProblem{"Inequalities", testing::rosen_suzuki()},
                                           NamedProblem{"Everything", testing::product_on_a_sphere()},
                                           NamedProblem{"LinearRows", quartic(17)},
                                           NamedProblem{"ManyLinearRows", quartic(60)},
                                           NamedProblem{"RowTwice", with_a_row_twice(quartic(17))},
                                           NamedProblem{"Equality", testing::rosenbrock_on_a_circle()},
                                           NamedProblem{"Relaxed", testing::inconsistent_at_the_start()}),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace tfminimize::solvers
