#include "driver/drive.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
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
#include "tests/driver/memory.h"

namespace tfminimize {
namespace {

using testing::Memory;

/// Records what is evaluated, and may fail.
class Noted : public Objective {
 public:
  explicit Noted(bool joint) : joint_(joint) {}

  double evaluate(Span<const double> x, const Buffers& to) override {
    if (!joint_) return Objective::evaluate(x, to);
    note("both", x);
    differentiate(x, to);
    return value(x, to);
  }
  double values(Span<const double> x, const Buffers& to) override {
    note("values", x);
    return value(x, to);
  }
  void derivatives(Span<const double> x, const Buffers& to) override {
    note("derivatives", x);
    differentiate(x, to);
  }
  bool is_joint() const override { return joint_; }

  std::int64_t count(const std::string& kind) const { return std::count(calls.begin(), calls.end(), kind); }

  std::vector<std::string> calls;        ///< What was evaluated, in order.
  std::string failing;                   ///< The kind of evaluation that throws from its second call on.
  std::vector<double> last_derivatives;  ///< x where the derivatives were last evaluated.

 protected:
  virtual double value(Span<const double> x, const Buffers& to) const = 0;
  virtual void differentiate(Span<const double> x, const Buffers& to) const = 0;

 private:
  void note(const std::string& kind, Span<const double> x) {
    calls.push_back(kind);
    if (kind == failing && calls.size() > 1) throw std::domain_error(kind);
    if (kind != "values") last_derivatives.assign(x.begin(), x.end());
  }

  bool joint_;
};

/// f(x) = sum of (i + 1) (x[i] - 1)^2 / 2. Its minimum is at 1.
class Quadratic final : public Noted {
 public:
  using Noted::Noted;

 private:
  double value(Span<const double> x, const Buffers& /*to*/) const override {
    double f = 0;
    for (std::size_t i = 0; i < x.size(); ++i) f += 0.5 * static_cast<double>(i + 1) * (x[i] - 1) * (x[i] - 1);
    return f;
  }
  void differentiate(Span<const double> x, const Buffers& to) const override {
    for (std::size_t i = 0; i < x.size(); ++i) to.gradient[i] = static_cast<double>(i + 1) * (x[i] - 1);
  }
};

/// Rosenbrock's function on the circle of radius √2, beyond the line x + y = 1: its minimum is at (1, 1).
class OnACircle final : public Noted {
 public:
  using Noted::Noted;

 private:
  double value(Span<const double> x, const Buffers& to) const override {
    to.constraints[0] = x[0] * x[0] + x[1] * x[1] - 2;
    to.constraints[1] = x[0] + x[1] - 1;
    return 100 * std::pow(x[1] - x[0] * x[0], 2) + std::pow(1 - x[0], 2);
  }
  void differentiate(Span<const double> x, const Buffers& to) const override {
    const double residual = x[1] - x[0] * x[0];
    to.gradient[0] = -400 * x[0] * residual - 2 * (1 - x[0]);
    to.gradient[1] = 200 * residual;
    double* row = to.jacobian.data();
    row[0] = 2 * x[0];
    row[1] = 2 * x[1];
    row += to.stride;
    row[0] = 1;
    row[1] = 1;
  }
};

/// A problem, a method and how the objective evaluates.
struct Kind {
  const char* name;
  bool constrained;
  bool is_slsqp;
  bool joint;
};

/// Options of a solver; each method takes those that it knows.
struct Options {
  double tolerance = -1;  ///< Negative for the defaults.
  std::int64_t maxiter = 1000;
  double maxtime = std::numeric_limits<double>::infinity();
};

/// A solver with its own memory, at the start.
class Solve {
 public:
  explicit Solve(const Kind& kind, const Options& options = {})
      : memory_(kind.constrained ? std::vector<double>{0.5, 2} : std::vector<double>(20, 0.0),
                kind.constrained ? 2 : 0),
        problem(memory_.problem(kind.constrained ? 1 : 0)) {
    if (kind.is_slsqp) {
      solvers::SlsqpOptions own;
      if (options.tolerance >= 0) own.ftol = options.tolerance;
      own.maxiter = options.maxiter;
      own.maxtime = options.maxtime;
      solver = std::make_unique<solvers::Slsqp>(problem, own);
    } else {
      solvers::LbfgsbOptions own;
      if (options.tolerance >= 0) own.ftol = own.gtol = options.tolerance;
      own.maxiter = options.maxiter;
      own.maxtime = options.maxtime;
      solver = std::make_unique<solvers::Lbfgsb>(problem, own);
    }
  }

  Timing drive_with(Objective& objective, const Callbacks& callbacks = {}) {
    return drive(*solver, problem, objective, callbacks);
  }
  Timing drive_with(Objective& objective, std::function<bool()> on_iteration) {
    Callbacks callbacks;
    callbacks.on_iteration = std::move(on_iteration);
    return drive_with(objective, callbacks);
  }
  Timing poll_with(Objective& objective, InterruptPoll poll) {
    Callbacks callbacks;
    callbacks.poll = std::move(poll);
    return drive_with(objective, callbacks);
  }

  std::vector<double> x() const { return memory_.x(); }

 private:
  Memory memory_;

 public:
  solvers::Problem problem;
  std::unique_ptr<solvers::Solver> solver;
};

std::unique_ptr<Noted> make_objective(const Kind& kind) {
  if (kind.constrained) return std::make_unique<OnACircle>(kind.joint);
  return std::make_unique<Quadratic>(kind.joint);
}

constexpr Kind kCircle{"", true, true, false};
constexpr Kind kJointCircle{"", true, true, true};
constexpr Kind kQuadratic{"", false, false, true};

class Drive : public ::testing::TestWithParam<Kind> {
 protected:
  Noted& objective() { return *objective_; }

 private:
  std::unique_ptr<Noted> objective_ = make_objective(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Kinds, Drive,
                         ::testing::Values(Kind{"lbfgsb", false, false, true},
                                           Kind{"lbfgsb_separate", false, false, false},
                                           Kind{"slsqp_unconstrained", false, true, true},
                                           Kind{"slsqp", true, true, true}, Kind{"slsqp_separate", true, true, false}),
                         [](const auto& parameter) { return parameter.param.name; });

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

/// Evaluates an objective until the deadline.
class Late final : public Objective {
 public:
  explicit Late(Objective& inner) : inner_(inner) {}

  double evaluate(Span<const double> x, const Buffers& to) override {
    end();
    return inner_.evaluate(x, to);
  }
  double values(Span<const double> x, const Buffers& to) override {
    end();
    return inner_.values(x, to);
  }
  void derivatives(Span<const double> x, const Buffers& to) override {
    end();
    inner_.derivatives(x, to);
  }
  bool is_joint() const override { return inner_.is_joint(); }
  void set_deadline(std::chrono::steady_clock::time_point deadline) override { deadline_ = deadline; }

  std::int64_t last = 0;  ///< The number of the evaluation that is to take until the deadline.
  bool has_ended = false;
  bool has_deadline() const { return deadline_ != kNever; }

 private:
  void end() {
    if (++count_ != last) return;
    ASSERT_TRUE(has_deadline());
    std::this_thread::sleep_until(deadline_);
    has_ended = true;
    throw DeadlinePassed();
  }

  Objective& inner_;
  std::int64_t count_ = 0;
  std::chrono::steady_clock::time_point deadline_ = kNever;
};

TEST_P(Drive, DeadlineWithinAnEvaluationEndsAtTheLastIterate) {
  for (const std::int64_t last : {3, 4, 5}) {
    Late late(objective());
    late.last = last;
    Solve solve(GetParam(), {1e-12, 1000, 0.2});
    std::vector<double> iterate = solve.x();
    const Timing timing = solve.drive_with(late, [&] {
      iterate = solve.x();
      return false;
    });
    EXPECT_TRUE(late.has_ended);
    EXPECT_FALSE(late.has_deadline());
    EXPECT_NE(std::string(solve.solver->message()).find("ime limit"), std::string::npos) << solve.solver->message();
    EXPECT_EQ(solve.x(), iterate);
    if (solve.solver->has_derivatives()) {
      const std::vector<double> found(solve.problem.gradient.begin(), solve.problem.gradient.end());
      objective().derivatives(solve.problem.x, buffers_of(solve.problem));
      EXPECT_EQ(std::vector<double>(solve.problem.gradient.begin(), solve.problem.gradient.end()), found);
    }
    EXPECT_GE(timing.evaluate, 0.1);
  }
}

TEST_P(Drive, StartIsAlwaysEvaluated) {
  class Start final : public Objective {
   public:
    explicit Start(Objective& inner) : inner_(inner) {}
    double evaluate(Span<const double> x, const Buffers& to) override { return inner_.evaluate(x, to); }
    double values(Span<const double> x, const Buffers& to) override { return inner_.values(x, to); }
    void derivatives(Span<const double> x, const Buffers& to) override { inner_.derivatives(x, to); }
    bool is_joint() const override { return inner_.is_joint(); }
    void set_deadline(std::chrono::steady_clock::time_point deadline) override { deadlines.push_back(deadline); }
    std::vector<std::chrono::steady_clock::time_point> deadlines;

   private:
    Objective& inner_;
  };
  Start start(objective());
  Solve solve(GetParam(), {1e-12, 1000, 0});
  solve.drive_with(start);
  EXPECT_EQ(solve.solver->nfev(), 1);
  EXPECT_NE(start.deadlines.front(), kNever);  // after the start
  EXPECT_EQ(start.deadlines.back(), kNever);
  start.deadlines.clear();
  Solve(GetParam()).drive_with(start);
  EXPECT_TRUE(start.deadlines.empty());
}

TEST_P(Drive, PollsAboutEvery50Milliseconds) {
  HostObjective function(
      [&](Span<const double> x, const Buffers& to) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        return objective().values(x, to);
      },
      [&](Span<const double> x, const Buffers& to) { objective().derivatives(x, to); });
  Solve solve(GetParam(), {0});
  const auto start = std::chrono::steady_clock::now();
  double seconds = 0;
  EXPECT_THROW(solve.poll_with(function,
                               [&] {
                                 seconds =
                                     std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
                                 throw std::domain_error("interrupt");
                               }),
               std::domain_error);
  EXPECT_GE(seconds, 0.05);
}

TEST(DriveStopwatch, PollsByTheClockWhereEvaluationsBecomeLong) {
  constexpr int kUnread = 4;  // evaluations between two readings of the clock
  for (int num_short = 1; num_short <= kUnread; ++num_short) {
    int polls = 0;
    const InterruptPoll poll = [&] { ++polls; };
    Stopwatch stopwatch(poll);
    for (int i = 0; i < num_short; ++i) stopwatch.evaluate([] {});
    const auto evaluate = [&] { stopwatch.evaluate([] { std::this_thread::sleep_for(2 * kPollInterval); }); };
    int num_long = 0;
    for (; polls == 0 && num_long < kUnread; ++num_long) evaluate();
    EXPECT_EQ(polls, 1) << "after " << num_short << " short evaluations";
    evaluate();  // from now on each one is timed
    EXPECT_EQ(polls, 2);
  }
}

TEST_P(Drive, QuickSolveIsNotPolled) {
  Solve solve(GetParam(), {-1, 2});
  solve.poll_with(objective(), [] { throw std::domain_error("interrupt"); });
  EXPECT_EQ(solve.solver->nit(), 2);
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
