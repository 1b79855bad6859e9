#include "solvers/aligned_array.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "solvers/memory.h"
#include "solvers/padding.h"

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
  if (large) madvise(memory, rounded, MADV_HUGEPAGE);  // If the system refuses, the array is only slower.
  return {memory, std::free};
}

AlignedArray<double> zeros(std::size_t size) {
  AlignedArray<double> array(padded(std::max<std::size_t>(size, 1)));
  std::fill_n(array.data(), array.size(), 0.0);
  return array;
}

}  // namespace tfminimize::solvers
