#include "solvers/aligned_array.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "solvers/memory.h"
#include "solvers/padding.h"

namespace tfminimize::solvers {

AlignedMemory::AlignedMemory(std::size_t size, std::size_t bytes, bool zeros) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  std::size_t space = 0;
  const bool fits =
      !__builtin_mul_overflow(size, bytes, &space) && space <= std::numeric_limits<std::size_t>::max() - kHugePage;
  const bool large = space >= 2 * kHugePage;
  const std::size_t alignment = large ? kHugePage : kAlignment;
  if (fits && large && zeros) {
    // The pages that calloc returns are zero already and cost nothing until they are used.
    std::size_t room = space + alignment;
    memory_.reset(std::calloc(room, 1));
    start_ = memory_.get();
    if (memory_) std::align(alignment, space, start_, room);
  } else if (fits) {
    const std::size_t rounded = (space + alignment - 1) / alignment * alignment;
    memory_.reset(std::aligned_alloc(alignment, std::max(rounded, alignment)));
    start_ = memory_.get();
    if (memory_ && zeros) std::memset(start_, 0, space);
  }
  if (!memory_) {
    throw OutOfMemory("The system has no " + gigabytes(static_cast<double>(size) * static_cast<double>(bytes)) +
                      " of memory more for the solver: give fewer variables or constraints, or a smaller maxcor.");
  }
  if (large) madvise(start_, space, MADV_HUGEPAGE);  // If the system refuses, the array is only slower.
}

AlignedArray<double> zeros(std::size_t size) {
  return AlignedArray<double>::zeros(padded(std::max<std::size_t>(size, 1)));
}

}  // namespace tfminimize::solvers
