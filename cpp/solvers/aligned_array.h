#ifndef TFMINIMIZE_SOLVERS_ALIGNED_ARRAY_H_
#define TFMINIMIZE_SOLVERS_ALIGNED_ARRAY_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include "solvers/span.h"

namespace tfminimize::solvers {

/// A cache line, which is also what TensorFlow asks of memory that it reads in place.
inline constexpr std::size_t kAlignment = 64;

inline bool is_aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % kAlignment == 0; }

/// Memory for an array that starts at a multiple of kAlignment. A large block starts at a huge page and asks the system
/// for huge pages; otherwise a pass over a tall matrix spends its time on page tables.
class AlignedMemory {
 public:
  AlignedMemory() = default;
  /// Of `size` elements of `bytes` each, which are 0 if `zeros`, else anything. Throws OutOfMemory.
  AlignedMemory(std::size_t size, std::size_t bytes, bool zeros);

  void* start() const { return start_; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  std::unique_ptr<void, Free> memory_;
  void* start_ = nullptr;
};

/// An array in such memory; it can be moved, not copied.
template <typename T>
class AlignedArray {
  static_assert(std::is_trivial_v<T>);

 public:
  AlignedArray() = default;
  /// Not initialized.
  explicit AlignedArray(std::size_t size) : AlignedArray(size, false) {}

  static AlignedArray zeros(std::size_t size) { return AlignedArray(size, true); }

  T* data() const { return static_cast<T*>(memory_.start()); }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) const { return data()[i]; }
  Span<T> span() const { return {data(), size_}; }

 private:
  AlignedArray(std::size_t size, bool zeros) : memory_(size, sizeof(T), zeros), size_(size) {}

  AlignedMemory memory_;
  std::size_t size_ = 0;
};

/// padded(size) zeros, at least one cache line of them.
AlignedArray<double> zeros(std::size_t size);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_ALIGNED_ARRAY_H_
