#ifndef TFMINIMIZE_SOLVERS_ALIGNED_ARRAY_H_
#define TFMINIMIZE_SOLVERS_ALIGNED_ARRAY_H_

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <type_traits>

namespace tfminimize::solvers {

/// Memory from std::aligned_alloc.
using AlignedMemory = std::unique_ptr<void, void (*)(void*)>;

/// Uninitialized memory that starts at a cache line. A large block starts at a huge page and asks the system for huge
/// pages; otherwise a pass over a tall matrix spends its time on page tables.
AlignedMemory aligned_memory(std::size_t bytes);

/// An array in such memory. It can be moved, but not copied.
template <typename T>
class AlignedArray {
  static_assert(std::is_trivial_v<T>);

 public:
  AlignedArray() = default;
  explicit AlignedArray(std::size_t size) : memory_(aligned_memory(size * sizeof(T))), size_(size) {}

  T* data() const { return static_cast<T*>(memory_.get()); }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) const { return data()[i]; }

 private:
  AlignedMemory memory_{nullptr, std::free};
  std::size_t size_ = 0;
};

/// padded(size) zeros, at least one cache line of them.
AlignedArray<double> zeros(std::size_t size);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_ALIGNED_ARRAY_H_
