// Every level of the dense kernels gives the same bits.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "solvers/kernels/dense_kernels.h"
#include "tests/solvers/kernels/dense_problem.h"
#include "tests/solvers/recorded_bits.h"

namespace tfminimize::solvers {
namespace {

using testing::DenseProblem;
using testing::RecordedBits;

/// One use of one kernel, which leaves its results in the problem.
struct Use {
  std::string name;
  std::function<void(const DenseKernels&, DenseProblem&)> run;
};

/// Every kernel, with every number of rows, since kernels work on rows in groups.
std::vector<Use> all_uses() {
  std::vector<Use> uses = {
      {"dot", [](const DenseKernels& k, DenseProblem& p) { p.products[0] = k.dot(p.n, p.x.data(), p.y.data()); }},
      {"add", [](const DenseKernels& k, DenseProblem& p) { k.add(p.n, 0.3, p.x.data(), p.y.data()); }},
      {"rotate", [](const DenseKernels& k, DenseProblem& p) { k.rotate(p.n, 0.6, 0.8, p.x.data(), p.y.data()); }},
      {"solve_transposed",
       [](const DenseKernels& k, DenseProblem& p) { k.solve_transposed(p.n, p.l.data(), p.stride, p.x.data()); }},
  };
  for (std::size_t rows = 0; rows <= DenseProblem::kRows; ++rows) {
    uses.push_back({"multiply", [=](const DenseKernels& k, DenseProblem& p) {
                      k.multiply(rows, p.n, p.a.data(), p.stride, p.x.data(), p.products.data());
                    }});
    uses.push_back({"multiply_transposed", [=](const DenseKernels& k, DenseProblem& p) {
                      k.multiply_transposed(rows, p.n, p.a.data(), p.stride, p.coefficients.data(), p.y.data());
                    }});
    uses.push_back({"solve", [=](const DenseKernels& k, DenseProblem& p) {
                      k.solve(p.n, p.l.data(), p.stride, 0, rows, p.a.data(), p.stride);
                    }});
  }
  for (const double t : {3.0, 1e-3, 1e3}) {
    uses.push_back({"update", [=](const DenseKernels& k, DenseProblem& p) {
                      k.update(p.n, p.l.data(), p.stride, p.d.data(), t, nullptr, p.x.data());
                    }});
    uses.push_back({"update with all t", [=](const DenseKernels& k, DenseProblem& p) {
                      p.fill_next(t);
                      k.update(p.n, p.l.data(), p.stride, p.d.data(), t, p.next.data(), p.x.data());
                    }});
  }
  return uses;
}

std::vector<std::size_t> all_sizes() {
  std::vector<std::size_t> sizes;
  for (std::size_t n = 1; n <= 40; ++n) sizes.push_back(n);
  sizes.insert(sizes.end(), {64, 129, 257});
  return sizes;
}

class DenseKernelLevelTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (dense_kernels_for(GetParam()) == nullptr) GTEST_SKIP() << "This machine has no " << GetParam();
  }
};

TEST_P(DenseKernelLevelTest, BitsAreThoseOfTheLowestLevel) {
  RecordedBits recorded;
  for (const Use& use : all_uses()) {
    for (const std::size_t n : all_sizes()) {
      DenseProblem expected(n, n % 3);
      DenseProblem actual(n, n % 3);
      use.run(*dense_kernels_for("v1"), expected);
      use.run(*dense_kernels_for(GetParam()), actual);
      ASSERT_TRUE(actual.bits() == expected.bits()) << use.name << ' ' << n;
      recorded.add(actual.bits());
    }
  }
}

TEST_P(DenseKernelLevelTest, NothingIsWrittenBehindAnArray) {
  for (const Use& use : all_uses()) {
    for (const std::size_t n : all_sizes()) {
      DenseProblem problem(n, n % 3);
      use.run(*dense_kernels_for(GetParam()), problem);
      ASSERT_TRUE(problem.guards_are_intact()) << use.name << ' ' << n;
    }
  }
}

TEST_P(DenseKernelLevelTest, PaddingStaysZero) {
  for (const Use& use : all_uses()) {
    for (const std::size_t n : all_sizes()) {
      DenseProblem problem(n, n % 3);
      use.run(*dense_kernels_for(GetParam()), problem);
      ASSERT_TRUE(problem.padding_is_intact()) << use.name << ' ' << n;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, DenseKernelLevelTest, ::testing::Values("v1", "v3", "v4"),
                         [](const auto& level) { return level.param; });

TEST(DenseKernelsTableTest, LowestLevelIsAlwaysThere) { EXPECT_NE(dense_kernels_for("v1"), nullptr); }

TEST(DenseKernelsTableTest, UnknownLevelIsNotFound) { EXPECT_EQ(dense_kernels_for("v2"), nullptr); }

TEST(DenseKernelsTableTest, HighestLevelThatRunsIsChosen) {
  const DenseKernels* best = dense_kernels_for("v1");
  for (const char* level : {"v3", "v4"}) {
    if (const DenseKernels* found = dense_kernels_for(level)) best = found;
  }
  EXPECT_EQ(&dense_kernels(), best);
}

}  // namespace
}  // namespace tfminimize::solvers
