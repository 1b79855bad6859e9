#ifndef TFMINIMIZE_SOLVERS_ALIGNED_ARRAY_H_
#define TFMINIMIZE_SOLVERS_ALIGNED_ARRAY_H_

#include <cstddef>
#include <memory>
#include <type_traits>

namespace tfminimize {

/// Memory for `size` elements that starts at a cache line; a large array starts at a huge page and asks for such
/// pages, since a pass over a tall matrix would else spend its time on page tables. Not initialized.
std::shared_ptr<void> aligned_memory(std::size_t bytes);

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
  std::shared_ptr<void> memory_;
  std::size_t size_ = 0;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_SOLVERS_ALIGNED_ARRAY_H_
