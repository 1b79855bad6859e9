#include "driver/drive.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "objectives/host_objective.h"
#include "solvers/lbfgsb/lbfgsb.h"
#include "solvers/slsqp/slsqp.h"
#include "tests/driver/drive_fixture.h"

namespace tfminimize {
namespace {

using testing::Driven;
using testing::kCircle;
using testing::kinds;
using testing::kJointCircle;
using testing::kQuadratic;
using testing::make_objective;
using testing::name_of;
using testing::Noted;
using testing::OnACircle;
using testing::Quadratic;
using testing::Solve;

class Drive : public Driven {};

INSTANTIATE_TEST_SUITE_P(Kinds, Drive, kinds(), name_of);

TEST_P(Drive, FindsTheMinimum) {
  Solve solve(GetParam(), {1e-10});
  solve.drive_with(objective());
  EXPECT_EQ(solve.solver->status_code(), 0);
  for (const double value : solve.x()) EXPECT_NEAR(value, 1.0, GetParam().constrained ? 1e-5 : 1e-4);
}

TEST_P(Drive, CountsEvaluationsAndTime) {
  Solve solve(GetParam());
  const auto start = std::chrono::steady_clock::now();
  const Timing timing = solve.drive_with(objective());
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(objective().count("values") + objective().count("both"), solve.solver->nfev());
  if (GetParam().joint || GetParam().is_slsqp) {
    EXPECT_EQ(timing.evaluations, objective().calls.size());
  } else {
    EXPECT_EQ(timing.evaluations, solve.solver->nfev());
  }
  EXPECT_GT(timing.evaluate, 0.0);
  EXPECT_GT(timing.solver, 0.0);
  EXPECT_GT(timing.first, 0.0);
  EXPECT_LE(timing.first, timing.evaluate);
  EXPECT_LE(timing.evaluate + timing.solver, elapsed.count());
}

TEST(DriveTiming, FirstEvaluationIsTimedByItself) {
  bool is_first = true;
  HostObjective function([&](Span<const double> x, const Buffers& to) {
    if (is_first) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    is_first = false;
    to.gradient[0] = 2 * x[0] - 1;
    return x[0] * x[0] - x[0];
  });
  Solve solve(kQuadratic);
  solvers::Problem problem = solve.problem;
  problem.x = {problem.x.data(), 1};
  problem.gradient = {problem.gradient.data(), 1};
  solvers::Lbfgsb solver(problem, {});
  const Timing timing = drive(solver, problem, function);
  EXPECT_GE(timing.first, 0.02);
  EXPECT_LE(timing.first, timing.evaluate);
  EXPECT_GT(timing.evaluations, 1);
}

TEST(DriveTiming, TimeOfTheCallbackCountsForNeither) {
  Quadratic objective(true);
  Solve solve(kQuadratic, {-1, 3});
  const Timing timing = solve.drive_with(objective, [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return false;
  });
  EXPECT_LT(timing.evaluate + timing.solver, 0.02);
}

TEST(DriveSeparate, DerivativesAreEvaluatedOnlyWhenTheyAreNeeded) {
  OnACircle objective(false);
  Solve solve(kCircle);
  solve.drive_with(objective);
  EXPECT_EQ(objective.count("both"), 0);
  EXPECT_EQ(objective.count("derivatives"), solve.solver->njev());
}

TEST(DriveJoint, ValuesAndDerivativesComeAtOnceWhereBothAreExpected) {
  OnACircle objective(true);
  Solve solve(kJointCircle);
  solve.drive_with(objective);
  EXPECT_EQ(objective.calls.front(), "both");
  EXPECT_GT(objective.count("both"), solve.solver->njev() / 2);
  EXPECT_LT(static_cast<std::int64_t>(objective.calls.size()), solve.solver->nfev() + solve.solver->njev());
}

TEST(DriveJoint, DerivativesAtTheEndBelongToTheLastX) {
  // Each of these ends the solve in another place: after an iteration, in one, or at its limit.
  for (const double ftol : {1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-10}) {
    OnACircle objective(true);
    Solve solve(kJointCircle, {ftol});
    solve.drive_with(objective);
    EXPECT_EQ(objective.last_derivatives, solve.x()) << ftol;
    EXPECT_EQ(solve.problem.jacobian[0], 2 * solve.x()[0]) << ftol;
  }
}

TEST_P(Drive, CallbackIsCalledAfterEveryIteration) {
  Solve solve(GetParam());
  std::vector<std::int64_t> seen;
  solve.drive_with(objective(), [&] {
    seen.push_back(solve.solver->nit());
    return false;
  });
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), solve.solver->nit());
  if (GetParam().is_slsqp) return;  // it begins an iteration that it does not complete
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], i + 1);
}

TEST_P(Drive, CallbackAtTheStartIsCalledOnceAfterTheFirstEvaluation) {
  Solve solve(GetParam());
  const std::vector<double> start = solve.x();
  int calls = 0;
  Callbacks callbacks;
  callbacks.on_start = [&](double f) {
    ++calls;
    EXPECT_EQ(f, GetParam().constrained ? 306.5 : 105.0);
    EXPECT_EQ(solve.x(), start);
    EXPECT_EQ(solve.solver->request(), solvers::Request::kEvaluate);
    EXPECT_EQ(objective().count("values") + objective().count("both"), 1);
  };
  solve.drive_with(objective(), callbacks);
  EXPECT_EQ(calls, 1);
}

TEST_P(Drive, ExceptionOfTheCallbackAtTheStartComesThroughAndTheSolverGoesOn) {
  Solve solve(GetParam());
  Callbacks callbacks;
  callbacks.on_start = [](double) { throw std::domain_error("start"); };
  EXPECT_THROW(solve.drive_with(objective(), callbacks), std::domain_error);
  EXPECT_EQ(solve.solver->nfev(), 0);
  solve.drive_with(objective());
  EXPECT_EQ(solve.solver->status_code(), 0);
}

TEST_P(Drive, CallbackBeforeAnIterationIsCalledUnlessTheSolverStops) {
  Solve solve(GetParam(), {-1, 4});
  std::string order;
  Callbacks callbacks;
  callbacks.on_begin = [&] { order += '('; };
  callbacks.on_iteration = [&] {
    order += ')';
    return false;
  };
  solve.drive_with(objective(), callbacks);
  EXPECT_EQ(solve.solver->nit(), 4);
  EXPECT_EQ(order, "()()()()");
}

TEST_P(Drive, CallbackBeforeAnIterationIsCalledWhereASolveGoesOn) {
  Solve solve(GetParam());
  Callbacks callbacks;
  callbacks.on_iteration = []() -> bool { throw std::domain_error("callback"); };
  EXPECT_THROW(solve.drive_with(objective(), callbacks), std::domain_error);
  std::string order;
  callbacks.on_begin = [&] { order += '('; };
  callbacks.on_iteration = [&] {
    order += ')';
    return true;
  };
  solve.drive_with(objective(), callbacks);
  EXPECT_EQ(order, "()");
}

TEST_P(Drive, CallbackThatReadsDerivativesHasThoseAtX) {
  Solve plain(GetParam());
  plain.drive_with(objective());
  const std::unique_ptr<Noted> watched = make_objective(GetParam());
  Solve solve(GetParam());
  Callbacks callbacks;
  callbacks.reads_derivatives = true;
  callbacks.on_iteration = [&] {
    EXPECT_EQ(watched->last_derivatives, solve.x());
    return false;
  };
  const Timing timing = solve.drive_with(*watched, callbacks);
  EXPECT_EQ(solve.x(), plain.x());
  EXPECT_EQ(solve.solver->nfev(), plain.solver->nfev());
  EXPECT_EQ(solve.solver->njev(), plain.solver->njev());
  // Without the callback, at most those at the last iteration would not have been evaluated.
  EXPECT_LE(watched->calls.size(), objective().calls.size() + 1);
  EXPECT_LE(timing.evaluations, static_cast<std::int64_t>(watched->calls.size()));
}

TEST_P(Drive, CallbackStopsTheSolve) {
  Solve solve(GetParam());
  solve.drive_with(objective(), [&] { return solve.solver->nit() == 2; });
  EXPECT_EQ(solve.solver->status_code(), 99);
  EXPECT_EQ(solve.solver->nit(), 2);
}

TEST_P(Drive, ExceptionOfTheCallbackComesThroughAndTheSolverGoesOn) {
  Solve whole(GetParam());
  whole.drive_with(objective());
  Solve solve(GetParam());
  EXPECT_THROW(solve.drive_with(objective(), []() -> bool { throw std::domain_error("callback"); }), std::domain_error);
  solve.drive_with(objective());
  EXPECT_EQ(solve.solver->status_code(), 0);
  EXPECT_EQ(solve.x(), whole.x());
}

TEST_P(Drive, ExceptionOfTheObjectiveComesThroughAndTheSolverGoesOn) {
  Solve whole(GetParam());
  whole.drive_with(objective());
  for (const char* kind : {"values", "derivatives", "both"}) {
    if (objective().count(kind) == 0) continue;
    const std::unique_ptr<Noted> failing = make_objective(GetParam());
    failing->failing = kind;
    Solve solve(GetParam());
    if (objective().count(kind) > 1 || objective().calls.front() != kind) {
      EXPECT_THROW(solve.drive_with(*failing), std::domain_error) << kind;
    }
    failing->failing.clear();
    solve.drive_with(*failing);
    EXPECT_EQ(solve.solver->status_code(), 0) << kind;
    EXPECT_EQ(solve.x(), whole.x()) << kind;
  }
}

TEST(DriveErrors, NothingIsEvaluatedAfterAnException) {
  int evaluations = 0;
  Quadratic quadratic(true);
  HostObjective function([&](Span<const double> x, const Buffers& to) {
    if (++evaluations == 3) throw std::domain_error("objective");
    return quadratic.evaluate(x, to);
  });
  Solve solve(kQuadratic);
  EXPECT_THROW(solve.drive_with(function), std::domain_error);
  EXPECT_EQ(evaluations, 3);
}

TEST_P(Drive, InterruptTakesThePlaceOfTheErrorOfACancelledEvaluation) {
  const auto cancelled = [](Span<const double>, const Buffers&) -> double { throw std::runtime_error("cancelled"); };
  HostObjective joint(cancelled);
  HostObjective separate(cancelled, [](Span<const double>, const Buffers&) {});
  Solve solve(GetParam());
  EXPECT_THROW(solve.poll_with(GetParam().joint ? joint : separate, [] { throw std::domain_error("interrupt"); }),
               std::domain_error);
}

TEST_P(Drive, GoesOnAfterARestoredIterationWithoutReportingItAgain) {
  Solve whole(GetParam());
  whole.drive_with(objective());

  Solve first(GetParam());
  std::vector<std::uint8_t> state;
  EXPECT_THROW(first.drive_with(objective(),
                                [&] {
                                  if (first.solver->nit() < 3) return false;
                                  state = first.solver->save();
                                  throw std::domain_error("stop here");
                                }),
               std::domain_error);
  Solve second(GetParam());
  second.solver->restore(state);
  std::vector<std::int64_t> seen;
  second.drive_with(objective(), [&] {
    seen.push_back(second.solver->nit());
    return false;
  });
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.front(), 4);
  EXPECT_EQ(second.solver->nit(), whole.solver->nit());
  EXPECT_EQ(second.x(), whole.x());
}

TEST_P(Drive, NanAtTheStartEndsTheSolve) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  const auto values = [&](Span<const double>, const Buffers& to) {
    std::fill(to.constraints.begin(), to.constraints.end(), kNaN);
    return to.constraints.empty() ? kNaN : 0.0;
  };
  HostObjective function(values, [](Span<const double>, const Buffers&) {});
  Solve solve(GetParam());
  const Timing timing = solve.drive_with(function);
  EXPECT_EQ(std::string(solve.solver->message()), GetParam().is_slsqp ? message(solvers::SlsqpStatus::kNonFiniteStart)
                                                                      : message(solvers::Status::kNonFiniteStart));
  EXPECT_EQ(timing.evaluations, 1);
}

}  // namespace
}  // namespace tfminimize
