#include "solvers/aligned_array.h"

#include <sys/mman.h>

#include <algorithm>
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
  const std::size_t used = space;
  // calloc and not memset: the pages of a large array are zero already and cost nothing until they are used.
  if (fits) memory_.reset(zeros ? std::calloc(space += alignment, 1) : std::malloc(space += alignment));
  if (!memory_) {
    throw OutOfMemory("The system has no " + gigabytes(static_cast<double>(size) * static_cast<double>(bytes)) +
                      " of memory more for the solver: give fewer variables or constraints, or a smaller maxcor.");
  }
  start_ = memory_.get();
  std::align(alignment, used, start_, space);
  if (large) madvise(start_, used, MADV_HUGEPAGE);  // If the system refuses, the array is only slower.
}

AlignedArray<double> zeros(std::size_t size) {
  return AlignedArray<double>::zeros(padded(std::max<std::size_t>(size, 1)));
}

}  // namespace tfminimize::solvers
