#include "driver/batch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <list>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "driver/drive.h"
#include "solvers/lbfgsb/lbfgsb.h"
#include "solvers/slsqp/slsqp.h"
#include "tests/driver/batch_arrays.h"
#include "tests/driver/memory.h"
#include "tests/driver/thread_ids.h"

namespace tfminimize {
namespace {

using testing::Memory;

constexpr std::size_t kSize = 3;
constexpr std::size_t kProblems = 200;

/// The target t of problem i.
double target(std::size_t problem) { return static_cast<double>(problem % 7) - 2; }

/// f(x) = sum of (x[j] - t)^4 + (x[j] - t)^2, where t is input 1, one double.
class Quartic : public Objective {
 public:
  double evaluate(Span<const double> x, const Buffers& to) override {
    if (before) before(problem_);
    double f = 0;
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double d = x[j] - target_;
      f += d * d * d * d + d * d;
      to.gradient[j] = 4 * d * d * d + 2 * d;
    }
    return f;
  }
  double values(Span<const double> x, const Buffers& to) override { return evaluate(x, to); }
  void derivatives(Span<const double> x, const Buffers& to) override { evaluate(x, to); }
  bool is_joint() const override { return true; }
  void cancel() override { ++cancelled; }
  void begin_batch(const std::vector<BatchedInput>& inputs) override { inputs_ = inputs; }
  void select(std::size_t problem) override {
    problem_ = problem;
    std::memcpy(&target_, inputs_.at(0).value(problem), sizeof target_);
  }
  void end_batch() override { inputs_.clear(); }
  bool in_batch() const { return !inputs_.empty(); }

  std::function<void(std::size_t problem)> before;  ///< Called by every evaluation.
  std::atomic<int> cancelled{0};

 private:
  std::vector<BatchedInput> inputs_;
  std::size_t problem_ = 0;
  double target_ = 0;
};

/// What one thread needs.
struct Desk {
  Memory memory{std::vector<double>(kSize)};
  solvers::Problem problem = memory.problem();
  solvers::Lbfgsb solver{problem, {}};
  Quartic objective;
};

/// The starts of all problems: (i, 1, -1).
std::vector<double> starts() {
  std::vector<double> x;
  for (std::size_t i = 0; i < kProblems; ++i) {
    for (const double value : {static_cast<double>(i % 11), 1.0, -1.0}) x.push_back(value);
  }
  return x;
}

/// A batch with its memory.
class Batch : public testing::BatchArrays {
 public:
  explicit Batch(std::size_t threads) : BatchArrays(starts(), kSize), desks_(threads) {
    for (std::size_t i = 0; i < kProblems; ++i) targets_.push_back(target(i));
  }

  BatchOutcome solve(const BatchCallback& callback = {}) {
    std::vector<Worker> workers;
    for (Desk& desk : desks_) workers.push_back({desk.solver, desk.problem, desk.objective});
    BatchedInput input;
    input.position = 1;
    input.bytes = sizeof(double);
    input.count = kProblems;
    input.data = reinterpret_cast<const std::byte*>(targets_.data());
    return solve_batch(workers, {input}, rows(), callback);
  }

  std::list<Desk>& desks() { return desks_; }

 private:
  std::list<Desk> desks_;
  std::vector<double> targets_;
};

TEST(Batch, WorkersStayInTheirThreads) {
  solvers::set_num_threads(4);
  std::atomic<bool> stayed{true};
  Batch batch(2);
  for (Desk& desk : batch.desks()) {
    desk.objective.before = [&](std::size_t) {
      if (testing::threads_of_calls() != std::set<std::thread::id>{std::this_thread::get_id()}) stayed = false;
    };
  }
  batch.solve();
  EXPECT_TRUE(stayed);
  solvers::set_num_threads(0);
}

TEST(Batch, RowsAreThoseOfSolvesInTurn) {
  Batch batch(2);
  const std::vector<double> starts = batch.x;
  batch.solve();
  for (std::size_t i = 0; i < kProblems; ++i) {
    Desk desk;
    std::copy_n(starts.begin() + static_cast<std::ptrdiff_t>(i * kSize), kSize, desk.problem.x.data());
    solvers::Lbfgsb solver(desk.problem, {});
    BatchedInput input;
    const double t = target(i);
    input.bytes = sizeof t;
    input.count = 1;
    input.data = reinterpret_cast<const std::byte*>(&t);
    desk.objective.begin_batch({input});
    desk.objective.select(0);
    drive(solver, desk.problem, desk.objective);
    for (std::size_t j = 0; j < kSize; ++j) {
      EXPECT_EQ(batch.x[i * kSize + j], desk.problem.x[j]);
      EXPECT_EQ(batch.gradient[i * kSize + j], desk.problem.gradient[j]);
    }
    EXPECT_EQ(batch.fun[i], solver.fun());
    EXPECT_EQ(batch.nit[i], solver.nit());
    EXPECT_EQ(batch.nfev[i], solver.nfev());
    EXPECT_EQ(batch.njev[i], solver.nfev());
    EXPECT_EQ(batch.status[i], scipy_code(solver.status()));
    EXPECT_STREQ(batch.message[i], message(solver.status()));
    EXPECT_EQ(batch.violation[i], 0);
  }
}

TEST(Batch, RowsDoNotDependOnTheNumberOfThreads) {
  Batch one(1);
  Batch many(5);
  one.solve();
  many.solve();
  EXPECT_EQ(one.x, many.x);
  EXPECT_EQ(one.gradient, many.gradient);
  EXPECT_EQ(one.fun, many.fun);
  EXPECT_EQ(one.nfev, many.nfev);
}

TEST(Batch, CountsTheEvaluationsOfAll) {
  Batch batch(3);
  const BatchOutcome outcome = batch.solve();
  std::int64_t evaluations = 0;
  for (const std::int64_t count : batch.nfev) evaluations += count;
  EXPECT_EQ(outcome.timing.evaluations, evaluations);
  EXPECT_GT(outcome.timing.solver, 0.0);
}

TEST(Batch, ExceptionsStayWithTheirProblems) {
  Batch batch(2);
  const std::vector<double> starts = batch.x;
  for (Desk& desk : batch.desks()) {
    desk.objective.before = [](std::size_t problem) {
      if (problem % 10 == 3) throw std::domain_error("no");
    };
  }
  const BatchOutcome outcome = batch.solve();
  for (std::size_t i = 0; i < kProblems; ++i) {
    if (i % 10 != 3) {
      EXPECT_EQ(outcome.errors[i], nullptr);
      EXPECT_EQ(batch.status[i], 0);
      EXPECT_NEAR(batch.x[i * kSize], target(i), 1e-3);
      continue;
    }
    EXPECT_THROW(std::rethrow_exception(outcome.errors[i]), std::domain_error);
    EXPECT_EQ(batch.status[i], BatchRows::kFailed);
    EXPECT_EQ(batch.message[i], nullptr);
    EXPECT_TRUE(std::isnan(batch.fun[i]));
    EXPECT_TRUE(std::isnan(batch.violation[i]));
    for (std::size_t j = i * kSize; j < (i + 1) * kSize; ++j) {
      EXPECT_EQ(batch.x[j], starts[j]);
      EXPECT_TRUE(std::isnan(batch.gradient[j]));
    }
  }
}

TEST(Batch, CallbackCountsInTheCallingThreadAndEndsTheBatch) {
  Batch batch(2);
  std::atomic<int> evaluations{0};
  for (Desk& desk : batch.desks()) {
    desk.objective.before = [&](std::size_t) {
      ++evaluations;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    };
  }
  const std::thread::id caller = std::this_thread::get_id();
  std::vector<std::size_t> counts;
  const BatchCallback callback = [&](std::size_t done) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    counts.push_back(done);
    if (counts.size() == 3) throw std::runtime_error("enough");
  };
  EXPECT_THROW(batch.solve(callback), std::runtime_error);
  ASSERT_EQ(counts.size(), 3);
  EXPECT_LE(counts[0], counts[2]);
  EXPECT_LT(counts[2], kProblems);
  const int at_the_end = evaluations;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(evaluations, at_the_end);
}

TEST(Batch, LongEvaluationsAreCancelledWhenItEnds) {
  Batch batch(2);
  for (Desk& desk : batch.desks()) {
    desk.objective.before = [&objective = desk.objective](std::size_t) {
      while (objective.cancelled == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      throw std::runtime_error("cancelled");
    };
  }
  const BatchCallback callback = [](std::size_t) { throw std::domain_error("enough"); };
  EXPECT_THROW(batch.solve(callback), std::domain_error);
}

TEST(Batch, ObjectivesAreInTheBatchAsLongAsItLasts) {
  Batch batch(2);
  for (Desk& desk : batch.desks()) {
    desk.objective.before = [&desk](std::size_t) { EXPECT_TRUE(desk.objective.in_batch()); };
  }
  batch.solve();
  for (const Desk& desk : batch.desks()) EXPECT_FALSE(desk.objective.in_batch());
}

TEST(Batch, InputWithoutAValueForAProblemIsItsError) {
  BatchedInput input;
  input.count = 2;
  input.bytes = sizeof(double);
  const std::vector<double> values{1, 2};
  input.data = reinterpret_cast<const std::byte*>(values.data());
  EXPECT_EQ(input.value(1), &values[1]);
  EXPECT_THROW(input.value(2), std::out_of_range);
}

/// f(x) = |x - t|^2 with the t of problem i, beyond the line x0 + x1 = 1.
class BeyondALine : public Objective {
 public:
  double values(Span<const double> x, const Buffers& to) override {
    to.constraints[0] = x[0] + x[1] - 1;
    return std::pow(x[0] - target_, 2) + std::pow(x[1] - target_, 2);
  }
  void derivatives(Span<const double> x, const Buffers& to) override {
    if (target_ == 1) throw std::domain_error("no");
    for (std::size_t j = 0; j < 2; ++j) {
      to.gradient[j] = 2 * (x[j] - target_);
      to.jacobian[j] = 1;
    }
  }
  bool is_joint() const override { return false; }
  void select(std::size_t problem) override { target_ = target(problem); }

 private:
  double target_ = 0;
};

TEST(Batch, SolvesProblemsWithConstraints) {
  constexpr std::size_t kCount = 10;
  struct ConstrainedDesk {
    Memory memory{{0, 0}, 1};
    solvers::Problem problem = memory.problem();
    solvers::Slsqp solver{problem, {}};
    BeyondALine objective;
  };
  std::list<ConstrainedDesk> desks(2);
  std::vector<Worker> workers;
  for (ConstrainedDesk& desk : desks) workers.push_back({desk.solver, desk.problem, desk.objective});
  std::vector<double> x(2 * kCount, 5.0);
  std::vector<double> gradient(2 * kCount);
  std::vector<double> fun(kCount);
  std::vector<double> violation(kCount);
  std::vector<double> multipliers(kCount);
  std::vector<std::int64_t> nit(kCount);
  std::vector<std::int64_t> nfev(kCount);
  std::vector<std::int64_t> njev(kCount);
  std::vector<std::int64_t> status(kCount);
  std::vector<const char*> messages(kCount);
  const BatchRows rows{x, gradient, fun, violation, multipliers, nit, nfev, njev, status, messages, {}};
  const BatchOutcome outcome = solve_batch(workers, {}, rows, {});
  for (std::size_t i = 0; i < kCount; ++i) {
    if (target(i) == 1) {
      EXPECT_THROW(std::rethrow_exception(outcome.errors[i]), std::domain_error);
      EXPECT_TRUE(std::isnan(multipliers[i]));
      EXPECT_EQ(x[2 * i], 5.0);
      continue;
    }
    const double expected = std::max(target(i), 0.5);
    EXPECT_EQ(status[i], 0);
    EXPECT_NEAR(x[2 * i], expected, 1e-6);
    EXPECT_NEAR(x[2 * i + 1], expected, 1e-6);
    EXPECT_NEAR(multipliers[i], 2 * (expected - target(i)), 1e-6);
    EXPECT_LT(violation[i], 1e-6);
    EXPECT_GT(njev[i], 0);
  }
}

}  // namespace
}  // namespace tfminimize
