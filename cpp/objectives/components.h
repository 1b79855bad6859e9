#ifndef TFMINIMIZE_OBJECTIVES_COMPONENTS_H_
#define TFMINIMIZE_OBJECTIVES_COMPONENTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "solvers/span.h"
#include "tensorflow/c/tf_datatype.h"

namespace tfminimize {

/// One segment of x as TensorFlow sees it.
struct Component {
  std::size_t offset = 0;           ///< Of its first element in x; a multiple of 8 (64 bytes), for TensorFlow.
  std::vector<std::int64_t> shape;  ///< Of the tensor.
  TF_DataType dtype = TF_DOUBLE;    ///< TF_DOUBLE or TF_FLOAT.
  std::shared_ptr<float> staging;   ///< Where a TF_FLOAT component is cast to, 64-byte aligned; or empty.
};

/// The number of elements of a component. Throws std::invalid_argument for a component that cannot be passed.
std::size_t element_count(const Component& component);

/// "float64", "float32", or words for any other dtype.
const char* name_of(TF_DataType dtype);

/// The segments of x, and where a function reads them:
///
///     x:  [ component 0 | pad | component 1 | pad | ... ]      float64, segments start at multiples of 64 bytes
///           |  in place (float64), or cast into a staging buffer (float32)
///           v
///         inputs of the function
class Components {
 public:
  /// Throws std::invalid_argument for components that cannot be passed.
  explicit Components(std::vector<Component> components);

  std::size_t count() const { return segments_.size(); }
  std::size_t size(std::size_t index) const { return segments_[index].size; }
  std::size_t offset(std::size_t index) const { return segments_[index].component.offset; }
  TF_DataType dtype(std::size_t index) const { return segments_[index].component.dtype; }
  const std::vector<std::int64_t>& shape(std::size_t index) const { return segments_[index].component.shape; }

  /// The buffer that a float32 component is cast to; empty before prepare().
  const std::shared_ptr<float>& staging(std::size_t index) const { return segments_[index].component.staging; }

  /// From now on each component has so many rows, its first dimension; at most as many as at first, at least 1.
  void set_rows(std::size_t rows);

  /// Must be called before address(index). Throws std::invalid_argument if there is no such component.
  void prepare(std::size_t index);

  /// Throws std::invalid_argument if an x of `size` elements ends before the components.
  void check_size(std::size_t size) const {
    if (size < required_size_) fail_size(size);
  }

  /// Casts the float32 components into their staging buffers.
  void stage(Span<const double> x) const;

  /// The memory of one component of x; that of a float32 component holds what stage() has cast.
  const void* address(std::size_t index, Span<const double> x) const {
    const Component& component = segments_[index].component;
    if (component.dtype == TF_FLOAT) return component.staging.get();
    return x.data() + component.offset;
  }

 private:
  struct Segment {
    Component component;
    std::size_t size;
  };

  [[noreturn]] void fail_size(std::size_t size) const;

  std::vector<Segment> segments_;
  std::size_t required_size_ = 0;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_COMPONENTS_H_
