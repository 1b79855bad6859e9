#include "driver/drive_together.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "objectives/exception_of.h"
#include "tests/driver/drive_fixture.h"

namespace tfminimize {
namespace {

using testing::Kind;
using testing::kinds;
using testing::make_objective;
using testing::Noted;
using testing::Options;
using testing::Solve;

/// Adds up vectors of threads, in the order of their ranks.
class Adder {
 public:
  explicit Adder(std::size_t size) : vectors_(size) {}

  void add(std::size_t rank, Span<double> vector) {
    std::unique_lock<std::mutex> lock(mutex_);
    vectors_[rank] = vector;
    const std::size_t round = round_;
    if (++arrived_ == vectors_.size()) {
      add_all();
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
    } else {
      changed_.wait(lock, [&] { return round_ != round; });
    }
  }

 private:
  void add_all() {
    std::vector<double> total(vectors_[0].size(), 0.0);
    for (const Span<double>& vector : vectors_) {
      ASSERT_EQ(vector.size(), total.size());
      for (std::size_t i = 0; i < total.size(); ++i) total[i] += vector[i];
    }
    for (const Span<double>& vector : vectors_) std::copy(total.begin(), total.end(), vector.begin());
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Span<double>> vectors_;
  std::size_t arrived_ = 0;
  std::size_t round_ = 0;
};

/// One of the processes that solve together.
struct Process {
  Process(const Kind& kind, const Options& options) : objective(make_objective(kind)), solve(kind, options) {}

  std::unique_ptr<Noted> objective;
  Solve solve;
  Callbacks callbacks;
  std::exception_ptr error;
  bool has_ended = false;
  bool has_failed = false;
};

class DriveTogether : public ::testing::TestWithParam<Kind> {
 protected:
  void make(std::size_t size, const Options& options = {}) {
    for (std::size_t rank = 0; rank < size; ++rank) {
      processes.push_back(std::make_unique<Process>(GetParam(), options));
    }
  }

  /// Solves in a thread for each process.
  void run(const std::vector<double>& rows, bool is_mean = true) {
    Adder adder(processes.size());
    std::vector<std::thread> threads;
    threads.reserve(processes.size());
    for (std::size_t rank = 0; rank < processes.size(); ++rank) {
      threads.emplace_back([&, rank] {
        Process& process = *processes[rank];
        Reduced reduced(*process.objective, {rank, processes.size(), is_mean, rows[rank]},
                        [&](Span<double> vector) { adder.add(rank, vector); }, {});
        process.error = exception_of(
            [&] { drive_together(*process.solve.solver, process.solve.problem, reduced, process.callbacks); });
        process.has_ended = reduced.has_ended();
        process.has_failed = reduced.has_failed();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  std::string error(std::size_t rank) const {
    if (!processes[rank]->error) return "";
    try {
      std::rethrow_exception(processes[rank]->error);
    } catch (const std::exception& error) {
      return error.what();
    }
  }

  void expect_same_solves() const {
    for (const auto& process : processes) {
      EXPECT_EQ(process->solve.x(), processes[0]->solve.x());
      EXPECT_EQ(process->solve.solver->nfev(), processes[0]->solve.solver->nfev());
      // Not the bytes of their states: those between two members of a struct may be any.
      EXPECT_EQ(process->solve.solver->nit(), processes[0]->solve.solver->nit());
      EXPECT_EQ(process->solve.solver->message(), processes[0]->solve.solver->message());
      EXPECT_TRUE(process->has_ended);
    }
  }

  std::vector<std::unique_ptr<Process>> processes;
};

TEST_P(DriveTogether, TakesTheStepsOfOneProcessIfAllHaveTheSameLoss) {
  make(2);
  run({3, 1});
  expect_same_solves();
  Solve alone(GetParam());
  const auto objective = make_objective(GetParam());
  alone.drive_with(*objective);
  EXPECT_EQ(processes[0]->solve.x(), alone.x());
  EXPECT_EQ(processes[0]->solve.solver->nfev(), alone.solver->nfev());
  EXPECT_FALSE(processes[0]->has_failed);
}

TEST_P(DriveTogether, LeavesOutAnEmptyShareOfAMean) {
  make(3);
  run({0, 2, 0});
  expect_same_solves();
  EXPECT_EQ(processes[2]->objective->calls.size(), 0U);
  EXPECT_EQ(error(0), "");
}

TEST_P(DriveTogether, WithoutRowsThrowsInAll) {
  make(2);
  run({0, 0});
  EXPECT_THAT(error(0), ::testing::StartsWith("The data have no rows"));
  EXPECT_EQ(error(0), error(1));
  EXPECT_TRUE(processes[0]->has_failed);
}

TEST_P(DriveTogether, ErrorOfOneEvaluationEndsAll) {
  make(3);
  processes[1]->objective->failing = GetParam().joint ? "both" : "values";
  run({1, 1, 1});
  EXPECT_EQ(error(1), GetParam().joint ? "both" : "values");
  EXPECT_EQ(error(0), PeerFailed().what());
  EXPECT_EQ(error(2), PeerFailed().what());
  for (const auto& process : processes) EXPECT_TRUE(process->has_failed);
}

TEST_P(DriveTogether, ErrorOfOneCallbackEndsAllAtTheSameIteration) {
  make(2);
  std::vector<int> counts(2);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    processes[rank]->callbacks.on_iteration = [&counts, rank] {
      if (++counts[rank] == 2 && rank == 1) throw std::domain_error("mine");
      return false;
    };
  }
  run({1, 1});
  EXPECT_EQ(error(0), PeerFailed().what());
  EXPECT_EQ(error(1), "mine");
  EXPECT_EQ(counts, (std::vector<int>{2, 2}));
}

TEST_P(DriveTogether, WishOfOneCallbackStopsAllAtTheSameIterate) {
  make(2);
  int count = 0;
  processes[0]->callbacks.on_iteration = [&] { return ++count == 2; };
  run({1, 1});
  expect_same_solves();
  EXPECT_EQ(count, 2);
  EXPECT_EQ(processes[1]->solve.solver->nit(), 2);
  EXPECT_EQ(processes[1]->solve.solver->status_code(), 99);
}

TEST_P(DriveTogether, AddsUpWhatIsSharedAfterEachIteration) {
  make(2);
  std::vector<double> shared(2);
  std::vector<std::vector<double>> seen(2);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    Callbacks& callbacks = processes[rank]->callbacks;
    callbacks.shared = {&shared[rank], 1};
    callbacks.on_iteration = [&, rank] {
      shared[rank] = 10.0 * static_cast<double>(rank + 1);
      return false;
    };
    callbacks.on_shared = [&, rank] {
      seen[rank].push_back(shared[rank]);
      return rank == 1 && seen[rank].size() == 2;  // stops all
    };
  }
  run({1, 1});
  expect_same_solves();
  EXPECT_EQ(processes[0]->solve.solver->nit(), 2);
  EXPECT_EQ(seen, (std::vector<std::vector<double>>{{30, 30}, {30, 30}}));
}

TEST_P(DriveTogether, ErrorBeforeSharingEndsAllBeforeTheyGoOn) {
  make(2);
  double shared[] = {1, 1};
  int count = 0;
  for (std::size_t rank = 0; rank < 2; ++rank) {
    processes[rank]->callbacks.shared = {&shared[rank], 1};
    processes[rank]->callbacks.on_shared = [&] { return ++count > 100; };
  }
  processes[1]->callbacks.on_iteration = []() -> bool { throw std::domain_error("mine"); };
  run({1, 1});
  EXPECT_EQ(error(0), PeerFailed().what());
  EXPECT_EQ(error(1), "mine");
  EXPECT_EQ(count, 0);
}

TEST_P(DriveTogether, InterruptOfOnePollEndsAll) {
  Options endless;
  endless.tolerance = 0;
  make(2, endless);
  for (auto& process : processes) {
    process->callbacks.on_iteration = [] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      return false;
    };
  }
  processes[0]->callbacks.poll = [] { throw std::domain_error("interrupt"); };
  run({1, 1});
  EXPECT_EQ(error(0), "interrupt");
  EXPECT_EQ(error(1), PeerFailed().what());
}

TEST_P(DriveTogether, TimeOfOneProcessEndsAllAtTheSameIteration) {
  Options limited;
  limited.tolerance = 0;
  limited.maxtime = 0.02;
  make(2, limited);
  processes[1]->callbacks.on_iteration = [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(15));
    return false;
  };
  run({1, 1});
  expect_same_solves();
  EXPECT_EQ(error(0), "");
  EXPECT_THAT(processes[0]->solve.solver->message(), ::testing::HasSubstr("Time limit"));
}

TEST_P(DriveTogether, ProcessesThatBeginAtOtherXPart) {
  make(3);
  processes[1]->solve.problem.x[0] += 1e-9;
  run({1, 1, 1});
  for (std::size_t rank = 0; rank < 3; ++rank) {
    EXPECT_THAT(error(rank), ::testing::StartsWith("The processes are no longer at the same x"));
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, DriveTogether, kinds(), testing::name_of);

}  // namespace
}  // namespace tfminimize
