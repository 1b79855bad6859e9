#include "solvers/aligned_array.h"

#include <sys/mman.h>

#include <cstdlib>

#include "solvers/memory.h"

namespace tfminimize::solvers {

AlignedMemory aligned_memory(std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const bool large = bytes >= 2 * kHugePage;
  const std::size_t alignment = large ? kHugePage : kLine;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) {
    throw OutOfMemory("The system has no " + gigabytes(static_cast<double>(rounded)) +
                      " of memory more for the solver: give fewer variables or constraints, or a smaller maxcor.");
  }
  if (large) madvise(memory, rounded, MADV_HUGEPAGE);  // A wish: without it the array is only slower.
  return {memory, std::free};
}

}  // namespace tfminimize::solvers
