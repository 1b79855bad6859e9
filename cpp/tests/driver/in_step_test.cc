#include "driver/in_step.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <list>
#include <set>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <vector>

#include "driver/drive.h"
#include "objectives/host_objective.h"
#include "solvers/bfgs/bfgs.h"
#include "solvers/lbfgsb/lbfgsb.h"
#include "tests/driver/batch_arrays.h"
#include "tests/driver/memory.h"

namespace tfminimize {
namespace {

using testing::Memory;

constexpr std::size_t kSize = 3;
constexpr std::size_t kProblems = 40;

double target(std::size_t problem) { return static_cast<double>(problem % 7) - 2; }

/// f(x) = sum of (x[j] - t)^4 + (x[j] - t)^2.
double quartic(double t, Span<const double> x, Span<double> gradient) {
  double f = 0;
  for (std::size_t j = 0; j < x.size(); ++j) {
    const double d = x[j] - t;
    f += d * d * d * d + d * d;
    gradient[j] = 4 * d * d * d + 2 * d;
  }
  return f;
}

/// Evaluates quartic() for all points; t is the only batched input.
class Quartics final : public VectorObjective {
 public:
  explicit Quartics(std::size_t capacity) : capacity_(capacity) {}

  std::size_t capacity() const override { return capacity_; }
  void evaluate_all(Span<ProblemPoint> points) override {
    calls.emplace_back();
    for (const ProblemPoint& point : points) calls.back().push_back(point.problem);
    if (before) before();
    for (ProblemPoint& point : points) {
      double t = 0;
      std::memcpy(&t, inputs_.at(0).value(point.problem), sizeof t);
      point.f = quartic(t, point.x, point.to.gradient);
    }
  }
  void begin(const std::vector<BatchedInput>& inputs, bool is_alone) override {
    inputs_ = inputs;
    was_alone = is_alone;
  }
  void end_batch() override { inputs_.clear(); }
  void cancel() override { cancelled = true; }

  bool in_batch() const { return !inputs_.empty(); }

  std::function<void()> before;                 ///< Called by each evaluation.
  std::vector<std::vector<std::size_t>> calls;  ///< The problems of each.
  std::atomic<bool> cancelled{false};
  bool was_alone = false;

 private:
  std::size_t capacity_;
  std::vector<BatchedInput> inputs_;
};

std::vector<double> starts() {
  std::vector<double> x;
  for (std::size_t i = 0; i < kProblems; ++i) {
    for (const double value : {static_cast<double>(i % 11), 1.0, -1.0}) x.push_back(value);
  }
  return x;
}

/// A solver and its memory.
template <typename Solver>
struct Desk {
  explicit Desk(double maxtime) : solver(problem, options(maxtime)) {}

  static auto options(double maxtime) {
    using Options =
        std::conditional_t<std::is_same_v<Solver, solvers::Bfgs>, solvers::BfgsOptions, solvers::LbfgsbOptions>;
    Options options;
    options.maxtime = maxtime;
    return options;
  }

  Memory memory{std::vector<double>(kSize)};
  solvers::Problem problem = memory.problem();
  Solver solver;
};

/// Teams of equal size, and the rows of the batch.
template <typename Solver>
class Batch : public testing::BatchArrays {
 public:
  Batch(std::size_t teams, std::size_t members, double maxtime = std::numeric_limits<double>::infinity())
      : BatchArrays(starts(), kSize) {
    for (std::size_t i = 0; i < kProblems; ++i) targets_.push_back(target(i));
    for (std::size_t i = 0; i < teams; ++i) {
      objectives.emplace_back(members);
      for (std::size_t k = 0; k < members; ++k) desks_.emplace_back(maxtime);
    }
  }

  BatchOutcome solve(const BatchCallback& callback = {}) {
    std::vector<Team> teams;
    auto desk = desks_.begin();
    for (Quartics& objective : objectives) {
      teams.push_back({{}, objective});
      for (std::size_t k = 0; k < objective.capacity(); ++k, ++desk) {
        teams.back().members.push_back({desk->solver, desk->problem, objective});
      }
    }
    BatchedInput input;
    input.bytes = sizeof(double);
    input.count = kProblems;
    input.data = reinterpret_cast<const std::byte*>(targets_.data());
    return solve_in_step(teams, {input}, rows(), callback);
  }

  std::list<Quartics> objectives;

 private:
  std::list<Desk<Solver>> desks_;
  std::vector<double> targets_;
};

template <typename Solver>
void expect_rows_of_solves_in_turn(const testing::BatchArrays& batch) {
  const std::vector<double> x = starts();
  for (std::size_t i = 0; i < kProblems; ++i) {
    Desk<Solver> desk(std::numeric_limits<double>::infinity());
    std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(i * kSize), kSize, desk.problem.x.data());
    desk.solver.restart();
    HostObjective objective(
        [i](Span<const double> at, const Buffers& to) { return quartic(target(i), at, to.gradient); });
    History history;
    history.keeps_rows = true;
    drive(desk.solver, desk.problem, objective, {}, &history);
    for (std::size_t j = 0; j < kSize; ++j) {
      EXPECT_EQ(batch.x[i * kSize + j], desk.problem.x[j]);
      EXPECT_EQ(batch.gradient[i * kSize + j], desk.problem.gradient[j]);
    }
    EXPECT_EQ(batch.fun[i], desk.solver.fun());
    EXPECT_EQ(batch.nit[i], desk.solver.nit());
    EXPECT_EQ(batch.nfev[i], desk.solver.nfev());
    EXPECT_EQ(batch.njev[i], desk.solver.njev());
    EXPECT_EQ(batch.status[i], desk.solver.status_code());
    EXPECT_STREQ(batch.message[i], desk.solver.message());
    if (batch.histories.empty()) continue;
    ASSERT_EQ(batch.histories[i].rows.size(), history.rows.size());
    for (std::size_t k = 0; k < history.rows.size(); ++k) {
      EXPECT_EQ(batch.histories[i].rows[k].fun, history.rows[k].fun);
      EXPECT_EQ(batch.histories[i].rows[k].gradient_norm, history.rows[k].gradient_norm);
      EXPECT_EQ(batch.histories[i].rows[k].step, history.rows[k].step);
      EXPECT_EQ(batch.histories[i].rows[k].nfev, history.rows[k].nfev);
    }
  }
}

TEST(InStep, RowsAreThoseOfSolvesInTurn) {
  for (const std::size_t members : {kProblems, std::size_t{7}, std::size_t{1}}) {
    Batch<solvers::Lbfgsb> batch(1, members);
    History kept;
    kept.keeps_rows = true;
    batch.histories.assign(kProblems, kept);
    batch.solve();
    expect_rows_of_solves_in_turn<solvers::Lbfgsb>(batch);
  }
}

TEST(InStep, BfgsGetsTheSameRowsAlthoughItTakesValuesAlone) {
  Batch<solvers::Bfgs> batch(1, kProblems);
  batch.solve();
  expect_rows_of_solves_in_turn<solvers::Bfgs>(batch);
}

TEST(InStep, TeamsShareTheProblems) {
  Batch<solvers::Lbfgsb> batch(3, 5);
  const BatchOutcome outcome = batch.solve();
  expect_rows_of_solves_in_turn<solvers::Lbfgsb>(batch);
  std::int64_t calls = 0;
  for (const Quartics& objective : batch.objectives) {
    EXPECT_FALSE(objective.was_alone);
    calls += static_cast<std::int64_t>(objective.calls.size());
  }
  EXPECT_EQ(outcome.timing.evaluations, calls);
}

TEST(InStep, OneCallEvaluatesAllThatAreStillRunning) {
  Batch<solvers::Lbfgsb> batch(1, kProblems);
  batch.solve();
  const Quartics& objective = batch.objectives.front();
  EXPECT_TRUE(objective.was_alone);
  EXPECT_FALSE(objective.in_batch());
  std::vector<std::int64_t> counts(kProblems);
  std::size_t before = kProblems;
  for (const std::vector<std::size_t>& problems : objective.calls) {
    EXPECT_LE(problems.size(), before);
    EXPECT_EQ(std::set<std::size_t>(problems.begin(), problems.end()).size(), problems.size());
    before = problems.size();
    for (const std::size_t problem : problems) ++counts[problem];
  }
  EXPECT_EQ(objective.calls.front().size(), kProblems);
  EXPECT_LT(objective.calls.back().size(), kProblems);
  EXPECT_EQ(counts, batch.nfev);  // none is evaluated for nothing
}

TEST(InStep, NextProblemsTakeThePlacesOfThoseThatHaveEnded) {
  Batch<solvers::Lbfgsb> batch(1, 4);
  batch.solve();
  const std::vector<std::vector<std::size_t>>& calls = batch.objectives.front().calls;
  const auto smaller =
      std::find_if(calls.begin(), calls.end(), [](const auto& problems) { return problems.size() < 4; });
  std::set<std::size_t> begun;
  for (auto call = calls.begin(); call != smaller; ++call) begun.insert(call->begin(), call->end());
  EXPECT_EQ(begun.size(), kProblems);
}

TEST(InStep, ExceptionBelongsToTheProblemsOfItsCall) {
  Batch<solvers::Lbfgsb> batch(1, 10);
  Quartics& objective = batch.objectives.front();
  objective.before = [&] {
    if (objective.calls.size() == 3) throw std::domain_error("no");
  };
  const BatchOutcome outcome = batch.solve();
  const std::vector<std::size_t>& failed = objective.calls[2];
  for (std::size_t i = 0; i < kProblems; ++i) {
    if (std::find(failed.begin(), failed.end(), i) == failed.end()) {
      EXPECT_EQ(outcome.errors[i], nullptr);
      EXPECT_EQ(batch.status[i], 0);
      continue;
    }
    EXPECT_THROW(std::rethrow_exception(outcome.errors[i]), std::domain_error);
    EXPECT_EQ(batch.status[i], BatchRows::kFailed);
    EXPECT_TRUE(std::isnan(batch.fun[i]));
    EXPECT_EQ(batch.x[i * kSize], static_cast<double>(i % 11));
  }
}

TEST(InStep, ProblemsWhoseTimeIsOverKeepTheirLastIterate) {
  Batch<solvers::Lbfgsb> batch(1, 10, 0.05);
  batch.objectives.front().before = [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); };
  batch.solve();
  EXPECT_LE(batch.objectives.front().calls.size(), 4);
  for (std::size_t i = 0; i < kProblems; ++i) {
    EXPECT_NE(batch.status[i], 0);
    if (i < 10) {
      std::vector<double> gradient(kSize);
      EXPECT_EQ(quartic(target(i), {batch.x.data() + i * kSize, kSize}, gradient), batch.fun[i]);
      EXPECT_TRUE(std::equal(gradient.begin(), gradient.end(), batch.gradient.data() + i * kSize));
    } else {  // it was never evaluated
      EXPECT_TRUE(std::isnan(batch.fun[i]));
      EXPECT_TRUE(std::isnan(batch.gradient[i * kSize]));
      EXPECT_EQ(batch.x[i * kSize], static_cast<double>(i % 11));
    }
  }
}

TEST(InStep, CallbackEndsTheBatchAndCancelsTheEvaluation) {
  Batch<solvers::Lbfgsb> batch(2, 20);
  for (Quartics& objective : batch.objectives) {
    objective.before = [&objective] {
      while (!objective.cancelled) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      throw std::runtime_error("cancelled");
    };
  }
  EXPECT_THROW(batch.solve([](std::size_t) { throw std::domain_error("enough"); }), std::domain_error);
  for (const Quartics& objective : batch.objectives) {
    EXPECT_EQ(objective.calls.size(), 1);
    EXPECT_FALSE(objective.in_batch());
  }
}

TEST(InStep, ProblemThatIsNotFiniteLeavesAlone) {
  Batch<solvers::Lbfgsb> batch(1, kProblems);
  batch.x[5 * kSize] = std::numeric_limits<double>::quiet_NaN();
  batch.solve();
  for (std::size_t i = 0; i < kProblems; ++i) {
    EXPECT_EQ(batch.status[i] == 0, i != 5);
  }
}

}  // namespace
}  // namespace tfminimize
