#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "solvers/kernels/kernels.h"
#include "solvers/threads.h"
#include "tests/solvers/kernels/kernel_problem.h"
#include "tests/solvers/recorded_bits.h"

namespace tfminimize::solvers {
namespace {

using testing::KernelProblem;
using testing::kInf;
using testing::kNaN;
using testing::RecordedBits;
using testing::Vector;

/// One use of one kernel; returns what the kernel does.
struct Use {
  std::string name;
  bool bounded;
  std::function<Vector(const Kernels&, KernelProblem&)> run;
};

Vector joined(std::initializer_list<Vector> parts) {
  Vector all;
  for (const Vector& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}
Vector numbers(const DirectionSums& sums) {
  return {sums.slope, sums.squared_norm, sums.max_step, sums.clipped ? 1.0 : 0.0};
}

Use direction(std::size_t columns) {
  return {"direction", false, [=](const Kernels& k, KernelProblem& p) {
            return numbers(k.direction(p.view(), p.combination(columns), KernelProblem::kDirectionColumn));
          }};
}

Use bounded_direction(std::size_t columns, std::size_t dot_columns, bool from_start) {
  return {"bounded_direction", true, [=](const Kernels& k, KernelProblem& p) {
            Vector free_dots(dot_columns);
            Vector active_dots(dot_columns);
            const Vectors v = p.view();
            const DirectionSums sums =
                k.bounded_direction(v, from_start ? v.start : v.x, p.positions.data(), 0.3, p.combination(columns),
                                    KernelProblem::kDirectionColumn, KernelProblem::columns(dot_columns),
                                    free_dots.data(), active_dots.data());
            return joined({numbers(sums), free_dots, active_dots});
          }};
}

Use move(bool bounded) {
  return {"move", bounded, [](const Kernels& k, KernelProblem& p) {
            return Vector{k.move(p.view(), KernelProblem::kDirectionColumn, 0.7) ? 1.0 : 0.0};
          }};
}

Use trial(bool bounded) {
  return {"trial", bounded, [](const Kernels& k, KernelProblem& p) {
            const TrialSums sums = k.trial(p.view(), KernelProblem::kDirectionColumn);
            return Vector{sums.slope, sums.projected_gradient};
          }};
}

Use update(std::size_t columns, double scale) {
  return {"update", false, [=](const Kernels& k, KernelProblem& p) {
            Vector y_dots(columns);
            Vector g_dots(columns);
            k.update(p.view(), KernelProblem::kDirectionColumn, scale, KernelProblem::kYColumn,
                     KernelProblem::columns(columns), y_dots.data(), g_dots.data());
            return joined({y_dots, g_dots});
          }};
}

Use bounded_update(std::size_t columns, bool stores_pair) {
  return {"bounded_update", true, [=](const Kernels& k, KernelProblem& p) {
            Vector y_dots(columns);
            Vector d_dots(columns);
            const CauchySums sums =
                k.bounded_update(p.view(), KernelProblem::kDirectionColumn, 0.7,
                                 stores_pair ? KernelProblem::kYColumn : kNoColumn, p.positions.data(),
                                 p.new_positions.data(), KernelProblem::columns(columns), y_dots.data(), d_dots.data());
            return joined({y_dots,
                           d_dots,
                           {sums.squared_norm, stores_pair ? sums.y_squared_norm : 0, sums.first_breakpoint,
                            static_cast<double>(sums.num_breakpoints), static_cast<double>(sums.num_moving)}});
          }};
}

Use breakpoints(double after, double limit) {
  return {"breakpoints", true, [=](const Kernels& k, KernelProblem& p) {
            std::vector<Breakpoint> found(p.n);
            found.resize(k.breakpoints(p.view(), p.positions.data(), after, limit, found.data()));
            Vector result;
            for (const Breakpoint& point : found) {
              result.insert(result.end(), {point.t, static_cast<double>(point.variable)});
            }
            return result;
          }};
}

Use truncate(std::size_t columns) {
  return {"truncate", true, [=](const Kernels& k, KernelProblem& p) {
            const Truncation shortest =
                k.truncate(p.view(), p.positions.data(), 0.3, p.combination(columns), KernelProblem::kDirectionColumn);
            return Vector{shortest.ratio, static_cast<double>(shortest.variable), shortest.d};
          }};
}

Use gradient_dots(std::size_t columns) {
  return {"gradient_dots", false, [=](const Kernels& k, KernelProblem& p) {
            Vector g_dots(columns);
            k.gradient_dots(p.view(), KernelProblem::columns(columns), g_dots.data());
            return g_dots;
          }};
}

/// Every kernel, with every number of columns, as they are worked on in groups.
std::vector<Use> all_uses() {
  std::vector<Use> uses = {
      move(false), move(true), trial(false), trial(true), update(4, 1), breakpoints(-1, 1e300), breakpoints(0.5, 2)};
  for (std::size_t columns = 0; columns <= KernelProblem::kColumns; ++columns) {
    uses.push_back(direction(columns));
    uses.push_back(bounded_direction(columns, KernelProblem::kColumns - columns, columns % 2 == 0));
    uses.push_back(update(columns, 0.7));
    uses.push_back(bounded_update(columns, true));
    uses.push_back(bounded_update(columns, false));
    uses.push_back(truncate(columns));
    uses.push_back(gradient_dots(columns));
  }
  return uses;
}

std::vector<std::size_t> all_sizes() {
  std::vector<std::size_t> sizes;
  for (std::size_t n = 1; n <= 40; ++n) sizes.push_back(n);
  sizes.insert(sizes.end(), {257, 5000, 16403});  // The last has more than one chunk of blocks.
  return sizes;
}

std::vector<std::uint64_t> as_bits(const Vector& values) {
  std::vector<std::uint64_t> bits(values.size());
  if (!values.empty()) std::memcpy(bits.data(), values.data(), values.size() * sizeof(double));
  return bits;
}

class KernelLevelTest : public ::testing::TestWithParam<std::tuple<const char*, Storage>> {
 protected:
  void SetUp() override {
    if (kernels_for(level_) == nullptr) GTEST_SKIP() << "This machine has no " << level_;
  }

  const char* const level_ = std::get<0>(GetParam());
  const Storage storage_ = std::get<1>(GetParam());
  const Kernels* const kernels_ = kernels_for(level_, storage_);
};

TEST_P(KernelLevelTest, NameIsThatOfTheLevel) { EXPECT_STREQ(kernels_->level, level_); }

TEST_P(KernelLevelTest, BitsAreThoseOfTheLowestLevel) {
  RecordedBits recorded;
  for (const Use& use : all_uses()) {
    for (const std::size_t n : all_sizes()) {
      KernelProblem expected(n, use.bounded, storage_);
      KernelProblem actual(n, use.bounded, storage_);
      const Vector expected_result = use.run(*kernels_for("v1", storage_), expected);
      const Vector actual_result = use.run(*kernels_, actual);
      ASSERT_EQ(as_bits(actual_result), as_bits(expected_result)) << use.name << ' ' << n;
      ASSERT_TRUE(actual.bits() == expected.bits()) << use.name << ' ' << n;
      recorded.add(actual_result);
      recorded.add(actual.bits());
    }
  }
}

TEST_P(KernelLevelTest, NothingIsWrittenBehindAnArray) {
  for (const Use& use : all_uses()) {
    for (const std::size_t n : all_sizes()) {
      KernelProblem problem(n, use.bounded, storage_);
      use.run(*kernels_, problem);
      ASSERT_TRUE(problem.guards_are_intact()) << use.name << ' ' << n;
    }
  }
}

TEST_P(KernelLevelTest, RowsThatFillUpTheLastTileStayZero) {
  for (const Use& use : all_uses()) {
    for (std::size_t n = 1; n <= 40; ++n) {
      KernelProblem problem(n, use.bounded, storage_);
      use.run(*kernels_, problem);
      for (std::size_t i = n; i < problem.rows; ++i) {
        for (std::size_t c = 0; c < KernelProblem::kColumns; ++c) ASSERT_EQ(problem.element(i, c), 0) << use.name;
        ASSERT_EQ(problem.new_positions[i], kFree) << use.name;
      }
    }
  }
}

TEST_P(KernelLevelTest, GradientThatIsNotFiniteShowsInTheSlope) {
  for (const bool bounded : {false, true}) {
    for (const double value : {kNaN, kInf, -kInf}) {
      for (const double d : {0.0, 1.0}) {
        for (std::size_t i = 0; i < 19; ++i) {
          KernelProblem problem(19, bounded, storage_);
          problem.gradient[i] = value;
          problem.tiles().set_element(i, KernelProblem::kDirectionColumn, d);
          const TrialSums sums = kernels_->trial(problem.view(), KernelProblem::kDirectionColumn);
          EXPECT_FALSE(std::isfinite(sums.slope)) << bounded << ' ' << value << ' ' << d << ' ' << i;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, KernelLevelTest,
                         ::testing::Combine(::testing::Values("v1", "v3", "v4"),
                                            ::testing::Values(Storage::kFloat64, Storage::kFloat32)),
                         [](const auto& level) {
                           const bool is_float64 = std::get<1>(level.param) == Storage::kFloat64;
                           return std::string(std::get<0>(level.param)) + (is_float64 ? "Float64" : "Float32");
                         });

class KernelThreadsTest : public ::testing::TestWithParam<Storage> {
 protected:
  void TearDown() override { set_num_threads(0); }
};

TEST_P(KernelThreadsTest, BitsAreThoseOfOneThread) {
  constexpr std::size_t kSize = kFewest * kChunk * kTile - 3;
  for (const Use& use :
       {direction(9), bounded_direction(4, 5, false), bounded_direction(4, 5, true), move(false), move(true),
        trial(false), trial(true), update(9, 0.7), bounded_update(9, true), bounded_update(9, false),
        breakpoints(-1, 1e300), breakpoints(0.5, 2), truncate(9), gradient_dots(5)}) {
    KernelProblem expected(kSize, use.bounded, GetParam());
    set_num_threads(1);
    const Vector expected_result = use.run(kernels(GetParam()), expected);
    for (const std::size_t threads : {2, 3, 20}) {
      KernelProblem actual(kSize, use.bounded, GetParam());
      set_num_threads(threads);
      const Vector actual_result = use.run(kernels(GetParam()), actual);
      ASSERT_EQ(as_bits(actual_result), as_bits(expected_result)) << use.name << ' ' << threads;
      ASSERT_TRUE(actual.bits() == expected.bits()) << use.name << ' ' << threads;
      ASSERT_TRUE(actual.guards_are_intact()) << use.name << ' ' << threads;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Storages, KernelThreadsTest, ::testing::Values(Storage::kFloat64, Storage::kFloat32));

TEST(KernelsTest, LowestLevelIsAlwaysThere) { EXPECT_NE(kernels_for("v1"), nullptr); }

TEST(KernelsTest, UnknownLevelIsNotFound) { EXPECT_EQ(kernels_for("v2"), nullptr); }

TEST(KernelsTest, HighestLevelThatRunsIsChosen) {
  const Kernels* best = kernels_for("v1");
  for (const char* level : {"v3", "v4"}) {
    if (const Kernels* found = kernels_for(level)) best = found;
  }
  EXPECT_EQ(&kernels(), best);
}

}  // namespace
}  // namespace tfminimize::solvers
