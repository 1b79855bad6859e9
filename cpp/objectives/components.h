#ifndef TFMINIMIZE_OBJECTIVES_COMPONENTS_H_
#define TFMINIMIZE_OBJECTIVES_COMPONENTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "objectives/tfe_api.h"
#include "solvers/span.h"

namespace tfminimize {

/// One segment of x as TensorFlow sees it.
struct Component {
  std::size_t offset = 0;           ///< Of its first element in x; a multiple of 8, as TensorFlow reads at 64 bytes.
  std::vector<std::int64_t> shape;  ///< Of the tensor.
  TF_DataType dtype = TF_DOUBLE;    ///< TF_DOUBLE or TF_FLOAT.
  std::shared_ptr<float> staging;   ///< Of a TF_FLOAT component: where it is cast to, 64-byte aligned; or empty.
};

/// The number of elements of its tensor. Throws std::invalid_argument for a component that cannot be passed.
std::size_t element_count(const Component& component);

/// "float64" or "float32", or what is said of any other dtype.
const char* name_of(TF_DataType dtype);

/// The segments of x as tensors that share its memory:
///
///     x:  [ component 0 | pad | component 1 | pad | ... ]      float64, segments start at multiples of 64 bytes
///           |  in place (float64), or cast into a staging buffer (float32)
///           v
///         tensors
class Components {
 public:
  /// `api` must outlive the object. Throws std::invalid_argument for components that cannot be passed.
  Components(const TfeApi& api, TFE_Context* context, std::vector<Component> components);

  std::size_t count() const { return segments_.size(); }
  std::size_t size(std::size_t index) const { return segments_[index].size; }
  std::size_t offset(std::size_t index) const { return segments_[index].component.offset; }
  TF_DataType dtype(std::size_t index) const { return segments_[index].component.dtype; }

  /// Prepares for tensor(index). Throws std::invalid_argument if there is no such component.
  void prepare(std::size_t index);

  /// Throws std::invalid_argument if an x of `size` elements ends before the components.
  void check_size(std::size_t size) const {
    if (size < required_size_) fail_size(size);
  }

  /// Casts the float32 components into their staging buffers.
  void stage(Span<const double> x) const;

  /// A tensor of the memory of one component of x, as it was staged if it is float32.
  TensorHandle tensor(std::size_t index, Span<const double> x) const;

  /// What keeps the memory of x alive as long as TensorFlow holds a tensor made of it.
  void set_owner(std::shared_ptr<const void> owner);

 private:
  struct Segment {
    Component component;
    std::size_t size;
  };

  [[noreturn]] void fail_size(std::size_t size) const;

  const TfeApi& api_;
  TFE_Context* context_;
  TfStatus status_;
  std::vector<Segment> segments_;
  std::size_t required_size_ = 0;
  std::shared_ptr<const void> owner_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_COMPONENTS_H_
