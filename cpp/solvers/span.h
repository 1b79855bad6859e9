#ifndef TFMINIMIZE_SOLVERS_SPAN_H_
#define TFMINIMIZE_SOLVERS_SPAN_H_

#include <cstddef>
#include <type_traits>
#include <vector>

namespace tfminimize {

/// A view of contiguous memory that someone else owns (std::span needs C++20).
template <typename T>
class Span {
 public:
  constexpr Span() = default;
  constexpr Span(T* data, std::size_t size) : data_(data), size_(size) {}
  Span(std::vector<std::remove_const_t<T>>& v) : data_(v.data()), size_(v.size()) {}  // NOLINT
  template <typename U = T, typename = std::enable_if_t<std::is_const_v<U>>>
  Span(const std::vector<std::remove_const_t<U>>& v)  // NOLINT
      : data_(v.data()), size_(v.size()) {}
  template <typename U = T, typename = std::enable_if_t<std::is_const_v<U>>>
  constexpr Span(Span<std::remove_const_t<U>> other)  // NOLINT
      : data_(other.data()), size_(other.size()) {}

  constexpr T* data() const { return data_; }
  constexpr std::size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr T& operator[](std::size_t i) const { return data_[i]; }
  constexpr T* begin() const { return data_; }
  constexpr T* end() const { return data_ + size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_SOLVERS_SPAN_H_
