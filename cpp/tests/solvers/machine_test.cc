#include "solvers/machine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace tfminimize::solvers {
namespace {

/// A folder with the files of control groups.
class ControlGroupsTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = folder_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  ControlGroups groups() const { return ControlGroups(folder_ / "memberships", folder_ / "mount"); }

 private:
  std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) /
      (std::string("groups_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(ControlGroupsTest, WithoutFilesHaveNoLimit) {
  EXPECT_TRUE(std::isinf(groups().cores()));
  EXPECT_TRUE(std::isinf(groups().free_memory()));
}

TEST_F(ControlGroupsTest, OfVersion2HaveTheLeastLimitOfThoseAbove) {
  write("memberships", "0::/a/b\n");
  write("mount/a/cpu.max", "150000 100000\n");
  write("mount/a/b/cpu.max", "max 100000\n");
  write("mount/a/memory.max", "max\n");
  write("mount/a/b/memory.max", "1000\n");
  write("mount/a/b/memory.current", "600\n");
  write("mount/a/b/memory.stat", "anon 1\ninactive_file 50\n");
  EXPECT_EQ(groups().cores(), 1.5);
  EXPECT_EQ(groups().free_memory(), 450);
}

TEST_F(ControlGroupsTest, OfVersion1HaveTheLimitsOfTheirControllers) {
  write("memberships", "5:memory:/a\n4:cpuacct,cpu:/b\n");
  write("mount/cpu/b/cpu.cfs_quota_us", "300000\n");
  write("mount/cpu/b/cpu.cfs_period_us", "100000\n");
  write("mount/cpu/cpu.cfs_quota_us", "-1\n");
  write("mount/cpu/cpu.cfs_period_us", "100000\n");
  write("mount/memory/a/memory.limit_in_bytes", "1000\n");
  write("mount/memory/a/memory.usage_in_bytes", "1600\n");
  EXPECT_EQ(groups().cores(), 3);
  EXPECT_EQ(groups().free_memory(), 0);
}

TEST_F(ControlGroupsTest, OfAContainerMayShowTheRootOnly) {
  write("memberships", "0::/outside/of/the/container\n");
  write("mount/cpu.max", "50000 100000\n");
  EXPECT_EQ(groups().cores(), 0.5);
}

TEST_F(ControlGroupsTest, ThatMakeNoSenseHaveNoLimit) {
  write("memberships", "nonsense\n::\n0::/a\n");
  write("mount/a/cpu.max", "many few\n");
  write("mount/a/memory.max", "");
  EXPECT_TRUE(std::isinf(groups().cores()));
  EXPECT_TRUE(std::isinf(groups().free_memory()));
}

TEST(MachineTest, HasACoreAndNoMoreThanTheSystem) {
  EXPECT_GE(available_cores(), 1U);
  EXPECT_LE(available_cores(), std::max(std::thread::hardware_concurrency(), 1U));
}

TEST(MachineTest, HasMemory) { EXPECT_GT(available_memory(), 1e6); }

}  // namespace
}  // namespace tfminimize::solvers
