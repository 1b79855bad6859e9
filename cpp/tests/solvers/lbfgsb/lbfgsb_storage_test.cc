// Correction pairs in float32, and the memory that pairs take.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "solvers/lbfgsb/lbfgsb.h"
#include "solvers/memory.h"
#include "tests/solvers/solve.h"

namespace tfminimize::solvers {
namespace {

using testing::bounded_rosenbrock;
using testing::expect_consistent;
using testing::Problem;
using testing::quadratic;
using testing::rosenbrock;
using testing::rosenbrock_problem;
using testing::Solve;
using testing::Vector;

LbfgsbOptions in_float32() {
  LbfgsbOptions options;
  options.storage = Storage::kFloat32;
  return options;
}

TEST(LbfgsbStorageTest, Float32FindsTheMinimum) {
  for (const Problem& problem : {rosenbrock_problem(100), bounded_rosenbrock(100), quadratic(50, 1000)}) {
    LbfgsbOptions options = in_float32();
    options.ftol = 0;
    options.gtol = 1e-5;
    Solve solve(problem, options);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), Status::kGradientConverged);
    EXPECT_LE(solve.projected_gradient(), 1e-5);
    expect_consistent(solve, problem.function);
  }
}

TEST(LbfgsbStorageTest, Float32TakesAboutAsManyIterations) {
  for (const Problem& problem : {rosenbrock_problem(1000), bounded_rosenbrock(1000)}) {
    Solve in_double(problem);
    Solve in_single(problem, in_float32());
    in_double.finish();
    in_single.finish();
    EXPECT_LE(in_single.solver.nit(), in_double.solver.nit() * 3 / 2);
  }
}

TEST(LbfgsbStorageTest, Float32StaysWithinBounds) {
  const Problem problem = bounded_rosenbrock(101);
  Solve solve(problem, in_float32());
  while (solve.solver.request() != Request::kStopped) {
    solve.advance();
    for (std::size_t i = 0; i < problem.x0.size(); ++i) {
      ASSERT_TRUE(problem.lower[i] <= solve.x()[i] && solve.x()[i] <= problem.upper[i]) << i;
    }
  }
}

TEST(LbfgsbStorageTest, PairsAreFloat32) {
  Solve solve(rosenbrock_problem(20), in_float32());
  for (int k = 0; k < 30; ++k) solve.advance();
  const std::size_t size = solve.solver.num_corrections() * solve.solver.size();
  ASSERT_GT(size, 0U);
  Vector s(size);
  Vector y(size);
  solve.solver.copy_corrections(s, y);
  for (const Vector& values : {s, y}) {
    for (const double value : values) EXPECT_EQ(value, static_cast<double>(static_cast<float>(value)));
  }
}

TEST(LbfgsbStorageTest, AnotherStorageNeedsANewSolver) {
  Solve solve(rosenbrock_problem(5));
  EXPECT_THROW(solve.solver.restart(in_float32()), std::invalid_argument);
}

TEST(LbfgsbStorageTest, StateOfAnotherStorageIsRefused) {
  Solve in_double(rosenbrock_problem(8));
  Solve in_single(rosenbrock_problem(8), in_float32());
  EXPECT_THROW(in_single.solver.restore(in_double.solver.save()), std::invalid_argument);
  EXPECT_THROW(in_double.solver.restore(in_single.solver.save()), std::invalid_argument);
}

/// What is said of a need that is too large.
std::string refusal(std::size_t n, std::int64_t maxcor, Storage storage, std::size_t count = 1) {
  try {
    Lbfgsb::check_memory(n, maxcor, storage, count);
  } catch (const OutOfMemory& error) {
    return error.what();
  }
  return "";
}

/// The number after some words.
double number_after(const std::string& sentence, const std::string& words) {
  const std::size_t begin = sentence.find(words);
  return begin == std::string::npos ? 0 : std::stod(sentence.substr(begin + words.size()));
}

constexpr std::size_t kMany = 1'000'000;

TEST(LbfgsbMemoryTest, RefusalNamesAMaxcorThatFits) {
  for (const Storage storage : {Storage::kFloat64, Storage::kFloat32}) {
    const double fits = number_after(refusal(kMany, 1 << 20, storage), ": give maxcor=");
    ASSERT_GE(fits, 10);
    // Other processes take memory, and give it back, meanwhile.
    EXPECT_EQ(refusal(kMany, static_cast<std::int64_t>(0.7 * fits), storage), "");
    EXPECT_NE(refusal(kMany, static_cast<std::int64_t>(1.4 * fits), storage), "");
  }
}

TEST(LbfgsbMemoryTest, RefusalNamesFloat32IfThatFits) {
  const double fits = number_after(refusal(kMany, 1 << 20, Storage::kFloat64), ": give maxcor=");
  const auto more = static_cast<std::int64_t>(1.4 * fits);
  EXPECT_NE(refusal(kMany, more, Storage::kFloat64).find(" or less, storage=\"float32\", or fewer variables."),
            std::string::npos);
  EXPECT_EQ(refusal(kMany, more, Storage::kFloat32), "");
}

TEST(LbfgsbMemoryTest, RefusalOfTooManyVariablesNamesNoMaxcor) {
  const std::string sentence = refusal(std::size_t{1} << 50, 10, Storage::kFloat64);
  EXPECT_EQ(sentence.substr(sentence.rfind(':')), ": give fewer variables.");
}

TEST(LbfgsbMemoryTest, RefusalOfManySolversNamesTheirNumber) {
  const std::string sentence = refusal(kMany, 10, Storage::kFloat64, 1'000'000);
  EXPECT_EQ(sentence.rfind("L-BFGS-B, in 1000000 threads, with 1000000 variables and maxcor = 10 needs ", 0), 0U);
  EXPECT_NE(sentence.find(": give a smaller num_threads, "), std::string::npos);
}

}  // namespace
}  // namespace tfminimize::solvers
