// Other tests of threads are in tests/driver, which ThreadSanitizer runs; it allows no fork.

#include "solvers/threads.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "solvers/machine.h"

namespace tfminimize::solvers {
namespace {

class ThreadsTest : public ::testing::Test {
 protected:
  void TearDown() override { set_num_threads(0); }

  /// How often each of `count` calls is made.
  static std::vector<int> counts(std::size_t count) {
    std::vector<int> counts(count);
    run_in_threads(
        count, [](const void* context, std::size_t i) { ++(*static_cast<std::vector<int>* const*>(context))->at(i); },
        std::vector<std::vector<int>*>{&counts}.data());
    return counts;
  }
};

TEST_F(ThreadsTest, EachCallIsMadeOnce) {
  for (const std::size_t threads : {1, 2, 3, 40}) {
    set_num_threads(threads);
    for (const std::size_t count : {0, 1, 5, 6, 7, 100, 1000}) EXPECT_EQ(counts(count), std::vector<int>(count, 1));
  }
}

TEST_F(ThreadsTest, AreAsManyAsTheCoresAtFirst) {
  set_num_threads(0);
  EXPECT_EQ(num_threads(), available_cores());
}

TEST_F(ThreadsTest, ForkedChildHasThreadsOfItsOwn) {
  set_num_threads(3);
  counts(100);  // The parent has its threads.
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // A child that hangs is killed.
    _exit(counts(100) == std::vector<int>(100, 1) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(counts(100), std::vector<int>(100, 1));
}

}  // namespace
}  // namespace tfminimize::solvers
