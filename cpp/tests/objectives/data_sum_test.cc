#include "objectives/data_sum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/threads.h"

namespace tfminimize {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

using Doubles = solvers::AlignedArray<double>;
constexpr std::size_t kSize = 3;  // Of x; a row of the data has as many numbers.
constexpr std::size_t kData = 1;  // The position of the data.

/// What the functions of a test do besides their work.
struct Hooks {
  std::function<void(double first)> before = [](double) {};  ///< Gets the first number of the batch.
  std::set<std::thread::id> threads;
  std::mutex mutex;  ///< Guards threads.
};

/// a/n Σ_rows softplus(row'x) of n rows, its gradient and the sum of all data: a function of x, the data and a. As a
/// penalty it is a x'x.
class Softplus final : public CompiledFunction {
 public:
  Softplus(Components& components, std::vector<Input> inputs, std::vector<Output> outputs, Hooks& hooks,
           bool is_penalty)
      : CompiledFunction(components, std::move(inputs), std::move(outputs)), hooks_(hooks), is_penalty_(is_penalty) {
    for (const Output& output : this->outputs()) memory_.push_back(Doubles::zeros(output.size));
    for (std::size_t i = 0; i < memory_.size(); ++i) results_[i] = memory_[i].data();
  }

  const char* way() const override { return "test"; }
  void begin_batch(const std::vector<BatchedInput>& inputs) override {
    CompiledFunction::begin_batch(inputs);
    data_ = inputs;
  }
  void select(std::size_t problem) override { selected_ = problem; }
  void end_batch() override { data_.clear(); }

 private:
  void run(Span<const double> x) override {
    const double a = *static_cast<const double*>(std::get<InputTensor>(inputs()[2]).value.get());
    const bool has_gradient = outputs().size() > 1 && outputs()[1].name.find("gradient") == 0;
    double f = 0;
    std::vector<double> g(kSize);
    if (is_penalty_) {
      f = a * std::inner_product(x.begin(), x.begin() + kSize, x.begin(), 0.0);
      for (std::size_t j = 0; j < kSize; ++j) g[j] = 2 * a * x[j];
    } else {
      f = mean(x, a, g);
    }
    memory_[0][0] = f;
    if (has_gradient) std::copy(g.begin(), g.end(), memory_[1].data());
  }

  double mean(Span<const double> x, double a, std::vector<double>& g) {
    const BatchedInput& input = data_.at(0);
    const auto* rows = static_cast<const double*>(input.value(selected_));
    hooks_.before(rows[0]);
    {
      const std::lock_guard<std::mutex> lock(hooks_.mutex);
      hooks_.threads.insert(std::this_thread::get_id());
    }
    const std::size_t n = input.bytes / sizeof(double) / kSize;
    double f = 0;
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double* row = rows + i * kSize;
      const double z = std::inner_product(row, row + kSize, x.begin(), 0.0);
      f += std::log1p(std::exp(z));
      for (std::size_t j = 0; j < kSize; ++j) g[j] += a * row[j] / (1 + std::exp(-z)) / static_cast<double>(n);
      sum = std::accumulate(row, row + kSize, sum);
    }
    if (outputs().back().name == "vector of sums") {
      memory_.back()[0] = sum;
      memory_.back()[1] = static_cast<double>(n);
    }
    return a * f / static_cast<double>(n);
  }

  Hooks& hooks_;
  bool is_penalty_;
  std::vector<BatchedInput> data_;
  std::size_t selected_ = 0;
  std::vector<Doubles> memory_;
};

InputTensor tensor(const Doubles& buffer, std::size_t size) {
  return {std::shared_ptr<const void>(std::shared_ptr<void>(), buffer.data()), TF_DOUBLE, size * sizeof(double)};
}

class DataSumTest : public testing::Test {
 protected:
  static constexpr std::size_t kRows = 103;

  DataSumTest() {
    for (std::size_t i = 0; i < data_.size(); ++i) data_[i] = std::sin(static_cast<double>(i * i));
    for (std::size_t j = 0; j < kSize; ++j) x_[j] = 0.3 * static_cast<double>(j) - 0.2;
    a_[0] = 2;
  }
  ~DataSumTest() override { solvers::set_num_threads(0); }

  MakeFunction maker(std::size_t rows, bool is_penalty = false) {
    const std::vector<CompiledFunction::Input> inputs{std::size_t{0}, tensor(data_, rows * kSize), tensor(a_, 1)};
    return [=](Components& components, std::vector<Output> outputs) {
      return std::make_unique<Softplus>(components, inputs, std::move(outputs), hooks_, is_penalty);
    };
  }

  BatchFunctions functions(std::size_t size, bool has_penalty) {
    return {maker(size), kRows % size > 0 ? maker(kRows % size) : MakeFunction(),
            has_penalty ? maker(size, true) : MakeFunction()};
  }

  std::unique_ptr<DataSum> make(std::size_t size, bool is_mean = true, bool has_penalty = false,
                                std::size_t num_functions = 1) {
    std::vector<BatchFunctions> all;
    all.reserve(num_functions);
    for (std::size_t i = 0; i < num_functions; ++i) all.push_back(functions(size, has_penalty));
    return std::make_unique<DataSum>(std::vector<Component>{{0, {kSize}, TF_DOUBLE, nullptr}},
                                     Batches{kRows, size, is_mean, 2},
                                     std::vector<DataTensor>{{kData, tensor(data_, kRows * kSize)}}, std::move(all));
  }

  double evaluate(DataSum& sum) const { return sum.evaluate(x(), {gradient(), {}, {}, 0}); }

  Span<const double> x() const { return {x_.data(), 8}; }
  Span<double> gradient() const { return {gradient_.data(), 8}; }
  std::vector<double> g() const { return {gradient_.data(), gradient_.data() + kSize}; }

  Hooks hooks_;
  Doubles data_ = Doubles::zeros(kRows * kSize);
  Doubles a_ = Doubles::zeros(1);
  Doubles x_ = Doubles::zeros(8);
  Doubles gradient_ = Doubles::zeros(8);
};

TEST_F(DataSumTest, MeanIsThatOfAllRowsForEveryBatchSize) {
  const double f = evaluate(*make(kRows));
  const std::vector<double> expected = g();
  for (const std::size_t size : {1, 2, 10, 51, 52, 102}) {
    const auto sum = make(size);
    EXPECT_NEAR(evaluate(*sum), f, 1e-14) << size;
    for (std::size_t j = 0; j < kSize; ++j) EXPECT_NEAR(g()[j], expected[j], 1e-14) << size;
    EXPECT_NEAR(sum->values(x(), {}), f, 1e-14) << size;
    EXPECT_NEAR(sum->sums()[0], std::accumulate(data_.data(), data_.data() + data_.size(), 0.0), 1e-12) << size;
    EXPECT_EQ(sum->sums()[1], kRows) << size;
  }
}

TEST_F(DataSumTest, SumAddsBatchesAsTheyAre) {
  // Batches of one row, whose means are their sums.
  const double mean = evaluate(*make(1));
  const std::vector<double> expected = g();
  EXPECT_NEAR(evaluate(*make(1, false)), mean * kRows, 1e-11);
  for (std::size_t j = 0; j < kSize; ++j) EXPECT_NEAR(g()[j], expected[j] * kRows, 1e-11);
}

TEST_F(DataSumTest, PenaltyIsAddedOnce) {
  for (const bool is_mean : {false, true}) {
    const double without = evaluate(*make(10, is_mean));
    const std::vector<double> expected = g();
    const double square = std::inner_product(x().begin(), x().begin() + kSize, x().begin(), 0.0);
    EXPECT_NEAR(evaluate(*make(10, is_mean, true)), without + 2 * square, 1e-11);
    for (std::size_t j = 0; j < kSize; ++j) EXPECT_NEAR(g()[j], expected[j] + 4 * x_[j], 1e-11);
  }
}

TEST_F(DataSumTest, BitsDoNotDependOnThreads) {
  // Batches of the end are done first, so that they wait for their turn.
  hooks_.before = [](double first) {
    std::this_thread::sleep_for(std::chrono::microseconds(static_cast<int>(100 * std::abs(first))));
  };
  for (const std::size_t size : {3, 10, 60}) {
    solvers::set_num_threads(1);
    const double f = evaluate(*make(size));
    const std::vector<double> expected = g();
    for (const std::size_t threads : {2, 4, 64}) {
      solvers::set_num_threads(threads);
      const auto sum = make(size);
      EXPECT_EQ(sum->num_threads(), std::min(threads, (kRows + size - 1) / size));
      for (int i = 0; i < 20; ++i) {
        ASSERT_EQ(evaluate(*sum), f) << size << " " << threads;
        ASSERT_EQ(g(), expected) << size << " " << threads;
      }
    }
  }
}

TEST_F(DataSumTest, RunsInSeveralThreads) {
  solvers::set_num_threads(4);
  hooks_.before = [](double) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
  evaluate(*make(2));
  EXPECT_GT(hooks_.threads.size(), 1);
  EXPECT_LE(hooks_.threads.size(), 4);
}

TEST_F(DataSumTest, SlowBatchDoesNotStopOtherThreads) {
  solvers::set_num_threads(1);
  const double f = evaluate(*make(20));
  const std::vector<double> expected = g();
  solvers::set_num_threads(2);
  std::atomic<int> others{0};
  hooks_.before = [&](double first) {
    if (first != data_[0]) {
      ++others;
      return;
    }
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (others < 5 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    EXPECT_EQ(others, 5);
  };
  EXPECT_EQ(evaluate(*make(20)), f);
  EXPECT_EQ(g(), expected);
}

TEST_F(DataSumTest, TwoFunctionsAreValuesAndDerivatives) {
  const auto sum = make(10, true, true, 2);
  const double f = evaluate(*sum);
  const std::vector<double> expected = g();
  gradient_[0] = 7;
  EXPECT_EQ(sum->values(x(), {{}, {}, {}, 0}), f);
  EXPECT_EQ(gradient_[0], 7);
  sum->derivatives(x(), {gradient(), {}, {}, 0});
  EXPECT_EQ(g(), expected);
  EXPECT_EQ(sum->num_functions(), 6);
}

TEST_F(DataSumTest, NewDataAndOtherInputsReachAllCopies) {
  solvers::set_num_threads(1);
  const auto sum = make(10, true, true);
  evaluate(*sum);
  Doubles data = Doubles::zeros(kRows * kSize);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = std::cos(static_cast<double>(i));
  sum->set_input(kData, tensor(data, data.size()));
  a_[0] = 0;  // what the functions were made with
  Doubles a = Doubles::zeros(1);
  a[0] = 5;
  sum->set_input(2, tensor(a, 1));
  const double f = evaluate(*sum);
  const std::vector<double> expected = g();
  solvers::set_num_threads(4);  // more copies
  EXPECT_EQ(evaluate(*sum), f);
  EXPECT_EQ(g(), expected);
  std::swap(data, data_);
  std::swap(a, a_);
  EXPECT_EQ(evaluate(*make(10, true, true)), f);
}

TEST_F(DataSumTest, RefusesOtherSizes) {
  const auto sum = make(10);
  Doubles small = Doubles::zeros(8);
  EXPECT_THAT([&] { sum->set_input(kData, tensor(small, 8)); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("another dtype or size")));
  EXPECT_THAT([&] { sum->set_input(2, tensor(small, 8)); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("another dtype or size")));
  EXPECT_THROW(sum->set_input(0, tensor(small, 8)), std::invalid_argument);
  EXPECT_THROW(DataSum({{0, {kSize}, TF_DOUBLE, nullptr}}, Batches{kRows, 10, true, 0}, {}, {{maker(10), {}, {}}}),
               std::invalid_argument);
  EXPECT_THROW(DataSum({{0, {kSize}, TF_DOUBLE, nullptr}}, Batches{kRows, 10, true, 0}, {}, {}), std::invalid_argument);
  EXPECT_THROW(
      DataSum({{0, {kSize}, TF_DOUBLE, nullptr}}, Batches{kRows, 10, true, 0}, {{kData, tensor(data_, 8)}}, {}),
      std::invalid_argument);
}

TEST_F(DataSumTest, ErrorOfTheFirstBatchComesThroughAndTheNextEvaluationIsWhole) {
  for (const std::size_t threads : {1, 4}) {
    solvers::set_num_threads(threads);
    const auto sum = make(10);
    const double f = evaluate(*sum);
    hooks_.before = [this](double first) {
      for (const std::size_t batch : {5, 7}) {
        if (first == data_[batch * 10 * kSize]) throw std::domain_error("batch " + std::to_string(batch));
      }
    };
    EXPECT_THAT([&] { evaluate(*sum); }, ThrowsMessage<std::domain_error>(HasSubstr("batch 5")));
    hooks_.before = [](double) {};
    EXPECT_EQ(evaluate(*sum), f);
  }
}

TEST_F(DataSumTest, CancelEndsBetweenTwoBatches) {
  for (const std::size_t threads : {1, 3}) {
    solvers::set_num_threads(threads);
    const auto sum = make(1);
    std::atomic<std::size_t> calls{0};
    hooks_.before = [&](double) {
      if (++calls == 20) sum->cancel();
    };
    gradient_[0] = 7;
    EXPECT_THAT([&] { evaluate(*sum); }, ThrowsMessage<std::runtime_error>(HasSubstr("cancelled")));
    EXPECT_EQ(gradient_[0], 7);
    EXPECT_LT(calls, 20 + 2 * threads);
    hooks_.before = [](double) {};
    sum->cancel();  // has no effect on later evaluations
    EXPECT_NO_THROW(evaluate(*sum));
  }
}

TEST_F(DataSumTest, DeadlineEndsBetweenTwoBatches) {
  const auto sum = make(1);
  std::atomic<std::size_t> calls{0};
  hooks_.before = [&](double) {
    ++calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  sum->set_deadline(std::chrono::steady_clock::now() + std::chrono::milliseconds(10));
  EXPECT_THROW(evaluate(*sum), DeadlinePassed);
  EXPECT_GT(calls, 0);
  EXPECT_LT(calls, kRows);
  sum->set_deadline(kNever);
  EXPECT_NO_THROW(evaluate(*sum));
}

}  // namespace
}  // namespace tfminimize
