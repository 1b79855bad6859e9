// Whole solves, whose bits must not depend on the processor.

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "tests/solvers/recorded_bits.h"
#include "tests/solvers/slsqp/constrained_solve.h"
#include "tests/solvers/solve.h"

namespace tfminimize::solvers {
namespace {

using testing::bounded_rosenbrock;
using testing::ConstrainedProblem;
using testing::ConstrainedSolve;
using testing::Problem;
using testing::quadratic;
using testing::RecordedBits;
using testing::rosenbrock_problem;

std::vector<Problem> unbounded() { return {rosenbrock_problem(2), rosenbrock_problem(101), quadratic(57, 1000)}; }

template <typename AnySolve>
void record(AnySolve& solve, RecordedBits& bits) {
  solve.finish();
  for (const auto& x : solve.evaluated) bits.add(x);
  bits.add(solve.values);
}

TEST(BitsTest, LbfgsbEvaluatesAtTheSamePoints) {
  RecordedBits bits;
  std::vector<Problem> problems = unbounded();
  for (const std::size_t n : {2, 3, 25, 101, 1000}) problems.push_back(bounded_rosenbrock(n));
  for (const Problem& problem : problems) {
    for (const Storage storage : {Storage::kFloat64, Storage::kFloat32}) {
      LbfgsbOptions options;
      options.storage = storage;
      testing::Solve solve(problem, options);
      record(solve, bits);
      EXPECT_EQ(scipy_code(solve.solver.status()), 0);
    }
  }
}

TEST(BitsTest, BfgsEvaluatesAtTheSamePoints) {
  RecordedBits bits;
  for (const Problem& problem : unbounded()) {
    testing::BfgsSolve solve(problem);
    record(solve, bits);
    EXPECT_EQ(scipy_code(solve.solver.status()), 0);
  }
}

TEST(BitsTest, SlsqpEvaluatesAtTheSamePoints) {
  RecordedBits bits;
  for (const ConstrainedProblem& problem : testing::problems()) {
    ConstrainedSolve solve(problem);
    record(solve, bits);
    bits.add(solve.multipliers());
    EXPECT_EQ(scipy_code(solve.solver.status()), 0);
  }
}

}  // namespace
}  // namespace tfminimize::solvers
