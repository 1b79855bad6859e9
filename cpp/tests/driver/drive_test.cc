#include "driver/drive.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include "objectives/aligned_buffer.h"
#include "objectives/host_function.h"

namespace tfminimize {
namespace {

constexpr std::size_t kSize = 20;

/// f(x) = sum of (i + 1) (x[i] - 1)^2 / 2, of which the minimum is at 1.
double quadratic(Span<const double> x, Span<double> g) {
  double f = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto weight = static_cast<double>(i + 1);
    f += 0.5 * weight * (x[i] - 1) * (x[i] - 1);
    g[i] = weight * (x[i] - 1);
  }
  return f;
}

/// A solver of its own memory, at the start x = 0.
struct Problem {
  AlignedBuffer<double> x{kSize};
  AlignedBuffer<double> g{kSize};
  solvers::Lbfgsb solver;

  explicit Problem(const solvers::LbfgsbOptions& options = {}) : solver(x.span(), g.span(), {}, {}, options) {}

  Timing drive_with(Objective& objective, const Observer& observer = {}, const InterruptPoll& poll = {}) {
    return drive(solver, x.span(), g.span(), objective, observer, poll);
  }
};

TEST(Drive, FindsTheMinimum) {
  HostFunction function(quadratic);
  Problem problem;
  problem.drive_with(function);
  EXPECT_EQ(scipy_code(problem.solver.status()), 0);
  for (const double value : problem.x.span()) EXPECT_NEAR(value, 1.0, 1e-4);
}

TEST(Drive, CountsEvaluationsAndTime) {
  HostFunction function(quadratic);
  Problem problem;
  const auto start = std::chrono::steady_clock::now();
  const Timing timing = problem.drive_with(function);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(timing.evaluations, problem.solver.nfev());
  EXPECT_GT(timing.evaluate, 0.0);
  EXPECT_GT(timing.solver, 0.0);
  EXPECT_LE(timing.evaluate + timing.solver, elapsed.count());
}

TEST(Drive, TimeOfTheObserverCountsForNeither) {
  HostFunction function(quadratic);
  solvers::LbfgsbOptions options;
  options.maxiter = 3;
  Problem problem(options);
  const Timing timing = problem.drive_with(function, [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return false;
  });
  EXPECT_LT(timing.evaluate + timing.solver, 0.02);
}

TEST(Drive, ObserverIsCalledAfterEveryIteration) {
  HostFunction function(quadratic);
  Problem problem;
  std::int64_t calls = 0;
  problem.drive_with(function, [&] {
    ++calls;
    EXPECT_EQ(problem.solver.nit(), calls);
    return false;
  });
  EXPECT_EQ(problem.solver.nit(), calls);
  EXPECT_GT(calls, 0);
}

TEST(Drive, ObserverStopsTheSolve) {
  HostFunction function(quadratic);
  Problem problem;
  problem.drive_with(function, [&] { return problem.solver.nit() == 2; });
  EXPECT_EQ(problem.solver.status(), solvers::Status::kCallerStopped);
  EXPECT_EQ(problem.solver.nit(), 2);
}

TEST(Drive, ExceptionOfTheObserverComesThroughAndTheObjectiveWorksAgain) {
  HostFunction function(quadratic);
  Problem problem;
  EXPECT_THROW(problem.drive_with(function, []() -> bool { throw std::domain_error("observer"); }), std::domain_error);
  Problem second;
  second.drive_with(function);
  EXPECT_EQ(scipy_code(second.solver.status()), 0);
}

TEST(Drive, ExceptionOfTheObjectiveComesThrough) {
  int evaluations = 0;
  HostFunction function([&](Span<const double> x, Span<double> g) {
    if (++evaluations == 3) throw std::domain_error("objective");
    return quadratic(x, g);
  });
  Problem problem;
  EXPECT_THROW(problem.drive_with(function), std::domain_error);
  EXPECT_EQ(evaluations, 3);
}

TEST(Drive, InterruptTakesThePlaceOfTheErrorOfACancelledEvaluation) {
  HostFunction function([](Span<const double>, Span<double>) -> double { throw std::runtime_error("cancelled"); });
  Problem problem;
  EXPECT_THROW(problem.drive_with(function, {}, [] { throw std::domain_error("interrupt"); }), std::domain_error);
}

TEST(Drive, PollsAboutEvery50Milliseconds) {
  HostFunction function([](Span<const double> x, Span<double> g) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return quadratic(x, g);
  });
  solvers::LbfgsbOptions options;
  options.gtol = 0;
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

TEST(Drive, PollsByTheClockWhereEvaluationsBecomeLong) {
  constexpr int kUnread = 4;  // evaluations between two looks at the clock
  for (int num_short = 1; num_short <= kUnread; ++num_short) {
    int polls = 0;
    const InterruptPoll poll = [&] { ++polls; };
    Stopwatch stopwatch(poll);
    for (int i = 0; i < num_short; ++i) stopwatch.evaluate([] {});
    const auto evaluate = [&] { stopwatch.evaluate([] { std::this_thread::sleep_for(2 * kPollInterval); }); };
    int num_long = 0;
    for (; polls == 0 && num_long < kUnread; ++num_long) evaluate();
    EXPECT_EQ(polls, 1) << "after " << num_short << " short evaluations";
    evaluate();  // from now on each is timed
    EXPECT_EQ(polls, 2);
  }
}

TEST(Drive, QuickSolveIsNotPolled) {
  HostFunction function(quadratic);
  solvers::LbfgsbOptions options;
  options.maxiter = 2;
  Problem problem(options);
  problem.drive_with(function, {}, [] { throw std::domain_error("interrupt"); });
  EXPECT_EQ(problem.solver.nit(), 2);
}

TEST(Drive, GoesOnAfterARestoredIterationWithoutReportingItAgain) {
  HostFunction function(quadratic);
  Problem whole;
  whole.drive_with(function);

  Problem first;
  std::vector<std::uint8_t> state;
  EXPECT_THROW(first.drive_with(function,
                                [&] {
                                  if (first.solver.nit() < 3) return false;
                                  state = first.solver.save();
                                  throw std::domain_error("stop here");
                                }),
               std::domain_error);
  Problem second;
  second.solver.restore(state);
  std::vector<std::int64_t> seen;
  second.drive_with(function, [&] {
    seen.push_back(second.solver.nit());
    return false;
  });
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.front(), 4);
  EXPECT_EQ(second.solver.nit(), whole.solver.nit());
  for (std::size_t i = 0; i < kSize; ++i) EXPECT_EQ(second.x.span()[i], whole.x.span()[i]);
}

TEST(Drive, NanAtTheStartEndsTheSolve) {
  HostFunction function([](Span<const double>, Span<double>) { return std::numeric_limits<double>::quiet_NaN(); });
  Problem problem;
  const Timing timing = problem.drive_with(function);
  EXPECT_EQ(problem.solver.status(), solvers::Status::kNonFiniteStart);
  EXPECT_EQ(timing.evaluations, 1);
}

}  // namespace
}  // namespace tfminimize
