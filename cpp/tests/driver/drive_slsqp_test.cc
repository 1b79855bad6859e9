#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "driver/drive.h"
#include "objectives/aligned_buffer.h"
#include "objectives/constrained_host_function.h"

namespace tfminimize {
namespace {

constexpr std::size_t kSize = 2;
constexpr std::size_t kConstraints = 2;
constexpr std::size_t kStride = solvers::SlsqpProblem::stride(kSize);

/// Rosenbrock's function on the circle of radius √2, beyond the line x + y = 1: its minimum is at (1, 1).
class OnACircle : public ConstrainedObjective {
 public:
  explicit OnACircle(bool joint) : joint_(joint) {}

  double evaluate_values(Span<const double> x, Span<double> c) override {
    note("values", x);
    return value(x, c);
  }
  void evaluate_derivatives(Span<const double> x, const Derivatives& derivatives) override {
    note("derivatives", x);
    differentiate(x, derivatives);
  }
  double evaluate(Span<const double> x, Span<double> c, const Derivatives& derivatives) override {
    note("both", x);
    differentiate(x, derivatives);
    return value(x, c);
  }
  bool is_joint() const override { return joint_; }

  std::int64_t count(const std::string& kind) const { return std::count(calls.begin(), calls.end(), kind); }

  std::vector<std::string> calls;        ///< What was evaluated, in order.
  std::string failing;                   ///< The kind of evaluation that throws, from the second on.
  std::vector<double> last_values;       ///< x where the values were last evaluated, and
  std::vector<double> last_derivatives;  ///< the derivatives.

 private:
  void note(const std::string& kind, Span<const double> x) {
    calls.push_back(kind);
    if (kind == failing && calls.size() > 1) throw std::domain_error(kind);
    if (kind != "derivatives") last_values.assign(x.begin(), x.end());
    if (kind != "values") last_derivatives.assign(x.begin(), x.end());
  }
  static double value(Span<const double> x, Span<double> c) {
    c[0] = x[0] * x[0] + x[1] * x[1] - 2;
    c[1] = x[0] + x[1] - 1;
    return 100 * std::pow(x[1] - x[0] * x[0], 2) + std::pow(1 - x[0], 2);
  }
  static void differentiate(Span<const double> x, const Derivatives& derivatives) {
    const double residual = x[1] - x[0] * x[0];
    derivatives.gradient[0] = -400 * x[0] * residual - 2 * (1 - x[0]);
    derivatives.gradient[1] = 200 * residual;
    double* row = derivatives.jacobian.data();
    row[0] = 2 * x[0];
    row[1] = 2 * x[1];
    row += derivatives.stride;
    row[0] = 1;
    row[1] = 1;
  }

  bool joint_;
};

/// A solver of its own memory, at the start (0.5, 2).
struct Problem {
  AlignedBuffer<double> x{kSize};
  AlignedBuffer<double> g{kSize};
  AlignedBuffer<double> c{kConstraints};
  AlignedBuffer<double> jacobian{kConstraints * kStride};
  solvers::SlsqpProblem problem = make();
  solvers::Slsqp solver;

  explicit Problem(const solvers::SlsqpOptions& options = {}) : solver(problem, options) {}

  solvers::SlsqpProblem make() const {
    x.span()[0] = 0.5;
    x.span()[1] = 2;
    solvers::SlsqpProblem made;
    made.x = x.span();
    made.gradient = g.span();
    made.constraints = c.span();
    made.jacobian = jacobian.span();
    made.num_equalities = 1;
    return made;
  }

  Timing drive_with(ConstrainedObjective& objective, const Observer& observer = {}, const InterruptPoll& poll = {}) {
    return drive(solver, problem, objective, observer, poll);
  }

  std::vector<double> point() const { return {x.span().begin(), x.span().end()}; }
};

class DriveSlsqp : public testing::TestWithParam<bool> {
 protected:
  OnACircle objective{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Joint, DriveSlsqp, testing::Values(false, true),
                         [](const auto& parameter) { return parameter.param ? "joint" : "separate"; });

TEST_P(DriveSlsqp, FindsTheMinimum) {
  Problem problem;
  problem.drive_with(objective);
  EXPECT_EQ(problem.solver.status(), solvers::SlsqpStatus::kConverged);
  for (const double value : problem.x.span()) EXPECT_NEAR(value, 1.0, 1e-5);
}

TEST_P(DriveSlsqp, CountsEvaluationsAndTime) {
  Problem problem;
  const auto start = std::chrono::steady_clock::now();
  const Timing timing = problem.drive_with(objective);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(timing.evaluations, objective.calls.size());
  EXPECT_EQ(objective.count("values") + objective.count("both"), problem.solver.nfev());
  EXPECT_GT(timing.evaluate, 0.0);
  EXPECT_GT(timing.solver, 0.0);
  EXPECT_LE(timing.evaluate + timing.solver, elapsed.count());
}

TEST(DriveSlsqpSeparate, DerivativesAreEvaluatedOnlyWhenTheyAreNeeded) {
  OnACircle objective(false);
  Problem problem;
  problem.drive_with(objective);
  EXPECT_EQ(objective.count("both"), 0);
  EXPECT_EQ(objective.count("derivatives"), problem.solver.njev());
}

TEST(DriveSlsqpJoint, ValuesAndDerivativesComeAtOnceWhereBothAreExpected) {
  OnACircle objective(true);
  Problem problem;
  problem.drive_with(objective);
  EXPECT_EQ(objective.calls.front(), "both");
  EXPECT_GT(objective.count("both"), problem.solver.njev() / 2);
  EXPECT_LT(static_cast<std::int64_t>(objective.calls.size()), problem.solver.nfev() + problem.solver.njev());
}

TEST(DriveSlsqpJoint, DerivativesAtTheEndBelongToTheLastX) {
  // With each of these the solve ends elsewhere: after an iteration, in one, or at its limit.
  for (const double ftol : {1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-10}) {
    solvers::SlsqpOptions options;
    options.ftol = ftol;
    OnACircle objective(true);
    Problem problem(options);
    problem.drive_with(objective);
    EXPECT_EQ(objective.last_derivatives, problem.point()) << ftol;
    EXPECT_EQ(problem.jacobian.span()[0], 2 * problem.x.span()[0]) << ftol;
  }
}

TEST_P(DriveSlsqp, ObserverIsCalledAfterEveryIteration) {
  Problem problem;
  std::vector<std::int64_t> seen;
  problem.drive_with(objective, [&] {
    seen.push_back(problem.solver.nit());
    return false;
  });
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), problem.solver.nit());
}

TEST_P(DriveSlsqp, ObserverStopsTheSolve) {
  Problem problem;
  problem.drive_with(objective, [&] { return problem.solver.nit() == 2; });
  EXPECT_EQ(problem.solver.status(), solvers::SlsqpStatus::kCallerStopped);
  EXPECT_EQ(problem.solver.nit(), 2);
}

TEST_P(DriveSlsqp, ExceptionOfTheObserverComesThroughAndTheSolverGoesOn) {
  Problem whole;
  whole.drive_with(objective);
  Problem problem;
  EXPECT_THROW(problem.drive_with(objective, []() -> bool { throw std::domain_error("observer"); }), std::domain_error);
  problem.drive_with(objective);
  EXPECT_EQ(problem.solver.status(), solvers::SlsqpStatus::kConverged);
  EXPECT_EQ(problem.point(), whole.point());
}

TEST_P(DriveSlsqp, ExceptionOfTheObjectiveComesThroughAndTheSolverGoesOn) {
  Problem whole;
  whole.drive_with(objective);
  for (const char* kind : {"values", "derivatives", "both"}) {
    if (objective.count(kind) == 0) continue;
    OnACircle failing(GetParam());
    failing.failing = kind;
    Problem problem;
    EXPECT_THROW(problem.drive_with(failing), std::domain_error) << kind;
    failing.failing.clear();
    problem.drive_with(failing);
    EXPECT_EQ(problem.solver.status(), solvers::SlsqpStatus::kConverged) << kind;
    EXPECT_EQ(problem.point(), whole.point()) << kind;
  }
}

TEST(DriveSlsqpSeparate, InterruptTakesThePlaceOfTheErrorOfACancelledEvaluation) {
  ConstrainedHostFunction function(
      [](Span<const double>, Span<double>) -> double { throw std::runtime_error("cancelled"); },
      [](Span<const double>, const Derivatives&) {});
  Problem problem;
  EXPECT_THROW(problem.drive_with(function, {}, [] { throw std::domain_error("interrupt"); }), std::domain_error);
}

TEST(DriveSlsqpSeparate, PollsAboutEvery50Milliseconds) {
  OnACircle objective(false);
  ConstrainedHostFunction function(
      [&](Span<const double> x, Span<double> c) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        return objective.evaluate_values(x, c);
      },
      [&](Span<const double> x, const Derivatives& derivatives) { objective.evaluate_derivatives(x, derivatives); });
  solvers::SlsqpOptions options;
  options.ftol = 0;
  Problem problem(options);
  const auto start = std::chrono::steady_clock::now();
  double seconds = 0;
  EXPECT_THROW(problem.drive_with(function, {},
                                  [&] {
                                    seconds =
                                        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
                                    throw std::domain_error("interrupt");
                                  }),
               std::domain_error);
  EXPECT_GE(seconds, 0.05);
}

TEST_P(DriveSlsqp, GoesOnAfterARestoredIterationWithoutReportingItAgain) {
  Problem whole;
  whole.drive_with(objective);

  Problem first;
  std::vector<std::uint8_t> state;
  EXPECT_THROW(first.drive_with(objective,
                                [&] {
                                  if (first.solver.nit() < 3) return false;
                                  state = first.solver.save();
                                  throw std::domain_error("stop here");
                                }),
               std::domain_error);
  Problem second;
  second.solver.restore(state);
  std::vector<std::int64_t> seen;
  second.drive_with(objective, [&] {
    seen.push_back(second.solver.nit());
    return false;
  });
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.front(), 4);
  EXPECT_EQ(second.solver.nit(), whole.solver.nit());
  EXPECT_EQ(second.point(), whole.point());
}

TEST(DriveSlsqpSeparate, NanAtTheStartEndsTheSolve) {
  ConstrainedHostFunction function(
      [](Span<const double>, Span<double> c) {
        c[0] = std::numeric_limits<double>::quiet_NaN();
        c[1] = 0;
        return 0.0;
      },
      [](Span<const double>, const Derivatives&) {});
  Problem problem;
  const Timing timing = problem.drive_with(function);
  EXPECT_EQ(problem.solver.status(), solvers::SlsqpStatus::kNonFiniteStart);
  EXPECT_EQ(timing.evaluations, 1);
}

}  // namespace
}  // namespace tfminimize
