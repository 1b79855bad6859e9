#include "solvers/aligned_array.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <new>

namespace tfminimize::solvers {
namespace {

TEST(AlignedArray, StartsAtAMultipleOf64AndHoldsZerosIfAsked) {
  for (const std::size_t size : {0UL, 1UL, 7UL, 1000UL, 1000000UL}) {
    const auto array = AlignedArray<double>::zeros(size);
    EXPECT_TRUE(is_aligned(array.data()));
    EXPECT_EQ(array.size(), size);
    EXPECT_TRUE(std::all_of(array.span().begin(), array.span().end(), [](double value) { return value == 0; }));
    EXPECT_TRUE(is_aligned(AlignedArray<double>(size).data()));
  }
}

TEST(AlignedArray, MoreThanMemoryIsBadAlloc) {
  for (const std::size_t size :
       {std::numeric_limits<std::size_t>::max() / 4, std::numeric_limits<std::size_t>::max() / 8}) {
    EXPECT_THROW(AlignedArray<double>::zeros(size), std::bad_alloc);
    EXPECT_THROW(AlignedArray<double>{size}, std::bad_alloc);
  }
}

}  // namespace
}  // namespace tfminimize::solvers
