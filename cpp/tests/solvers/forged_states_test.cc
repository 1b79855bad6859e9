// States that no solver has saved. Restoring one throws, or gives a solver that goes on and ends.

#include "tests/solvers/forged_states.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "solvers/lbfgsb/lbfgsb.h"
#include "solvers/slsqp/slsqp.h"
#include "tests/solvers/slsqp/constrained_solve.h"
#include "tests/solvers/solve.h"

namespace tfminimize::solvers {
namespace {

using testing::bounded_rosenbrock;
using testing::Bytes;
using testing::ConstrainedProblem;
using testing::ConstrainedSolve;
using testing::for_each_forged;
using testing::inconsistent_at_the_start;
using testing::product_on_a_sphere;
using testing::rosen_suzuki;
using testing::rosenbrock_problem;
using testing::Solve;

constexpr int kSteps = 12;  // Steps after restoring a forged state; by then the solver has used all of it.

/// Forges a state at every `stride`-th step of a solve, restores it in `victim`, and goes on from there.
template <typename AnySolve>
void restore_forged(AnySolve& solve, AnySolve& victim, int stride) {
  const Bytes own = victim.solver.save();
  int refused = 0;
  int accepted = 0;
  int warm = 0;
  for (int step = 0; solve.solver.request() != Request::kStopped; solve.advance(), ++step) {
    if (step % stride != 0) continue;
    for_each_forged(solve.solver.save(), static_cast<std::uint64_t>(step), [&](const Bytes& forged) {
      try {
        victim.solver.restore(forged);
      } catch (const std::invalid_argument&) {
        ++refused;
        ASSERT_EQ(victim.solver.save(), own);
        return;
      }
      ++accepted;
      AnySolve pupil(victim.problem());
      if (pupil.solver.warm_start(victim.solver)) ++warm;
      for (int k = 0; k < kSteps && pupil.solver.request() != Request::kStopped; ++k) pupil.advance();
      for (int k = 0; k < kSteps && victim.solver.request() != Request::kStopped; ++k) victim.advance();
      victim.solver.restore(own);
    });
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(accepted, 0);
  EXPECT_GT(warm, 0);
  EXPECT_LT(warm, accepted);  // Curvature that is not finite, or not positive, is refused.
}

LbfgsbOptions few_corrections() {
  LbfgsbOptions options;
  options.maxcor = 3;
  return options;
}

TEST(ForgedStateTest, LbfgsbWithoutBoundsGoesOnOrRefusesIt) {
  Solve solve(rosenbrock_problem(5), few_corrections());
  Solve victim(rosenbrock_problem(5), few_corrections());
  for (int k = 0; k < 9; ++k) victim.advance();
  restore_forged(solve, victim, 7);
}

TEST(ForgedStateTest, LbfgsbWithBoundsGoesOnOrRefusesIt) {
  Solve solve(bounded_rosenbrock(5), few_corrections());
  Solve victim(bounded_rosenbrock(5), few_corrections());
  for (int k = 0; k < 9; ++k) victim.advance();
  restore_forged(solve, victim, 5);
}

TEST(ForgedStateTest, BfgsGoesOnOrRefusesIt) {
  testing::BfgsSolve solve(rosenbrock_problem(5));
  testing::BfgsSolve victim(rosenbrock_problem(5));
  for (int k = 0; k < 9; ++k) victim.advance();
  restore_forged(solve, victim, 9);
}

class ForgedSlsqpStateTest : public ::testing::TestWithParam<ConstrainedProblem (*)()> {};

TEST_P(ForgedSlsqpStateTest, SolverGoesOnOrRefusesIt) {
  ConstrainedSolve solve(GetParam()());
  ConstrainedSolve victim(GetParam()());
  for (int k = 0; k < 4; ++k) victim.advance();
  restore_forged(solve, victim, 3);
}

ConstrainedProblem bounded_suzuki() {
  ConstrainedProblem problem = rosen_suzuki();
  problem.lower.assign(problem.x0.size(), -0.9);
  problem.upper.assign(problem.x0.size(), 1.5);
  return problem;
}

INSTANTIATE_TEST_SUITE_P(Problems, ForgedSlsqpStateTest,
                         ::testing::Values(&rosen_suzuki, &bounded_suzuki, &inconsistent_at_the_start));

}  // namespace
}  // namespace tfminimize::solvers
