#ifndef TFMINIMIZE_OBJECTIVES_ALIGNED_BUFFER_H_
#define TFMINIMIZE_OBJECTIVES_ALIGNED_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>

#include "solvers/span.h"

namespace tfminimize {

/// What TensorFlow asks of memory that it reads in place.
inline constexpr std::size_t kAlignment = 64;

inline bool is_aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % kAlignment == 0; }

/// Memory that starts at a multiple of 64 bytes and holds zeros.
template <typename T>
class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::size_t size) : size_(size) {
    if (size > (std::numeric_limits<std::size_t>::max() - kAlignment) / sizeof(T)) throw std::bad_alloc();
    // calloc and not aligned_alloc: the pages of a large buffer are zero already and cost nothing until they are used.
    std::size_t space = size * sizeof(T) + kAlignment;
    memory_.reset(std::calloc(space, 1));
    if (!memory_) throw std::bad_alloc();
    void* start = memory_.get();
    data_ = static_cast<T*>(std::align(kAlignment, size * sizeof(T), start, space));
  }

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  Span<T> span() const { return {data_, size_}; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  std::size_t size_;
  std::unique_ptr<void, Free> memory_;
  T* data_ = nullptr;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_ALIGNED_BUFFER_H_
