#include "objectives/components.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "solvers/aligned_array.h"

namespace tfminimize {
namespace {

constexpr std::size_t kDoublesAlignment = solvers::kAlignment / sizeof(double);

}  // namespace

const char* name_of(TF_DataType dtype) {
  switch (dtype) {
    case TF_DOUBLE:
      return "float64";
    case TF_FLOAT:
      return "float32";
    default:
      return "neither float64 nor float32";
  }
}

std::size_t element_count(const Component& component) {
  if (component.offset % kDoublesAlignment != 0) {
    throw std::invalid_argument("The offset of a component is " + std::to_string(component.offset) +
                                ", which is not a multiple of " + std::to_string(kDoublesAlignment) + ".");
  }
  if (component.dtype != TF_DOUBLE && component.dtype != TF_FLOAT) {
    throw std::invalid_argument(std::string("The dtype of a component is ") + name_of(component.dtype) + ".");
  }
  // With this bound neither the sum of an offset and a size nor a number of bytes can overflow.
  constexpr std::int64_t kLimit = std::int64_t{1} << 48;
  std::int64_t size = 1;
  for (const std::int64_t extent : component.shape) {
    if (extent < 0) throw std::invalid_argument("The shape of a component has a negative extent.");
    if (__builtin_mul_overflow(size, extent, &size) || size > kLimit) {
      throw std::invalid_argument("The shape of a component has more elements than memory can hold.");
    }
  }
  if (component.offset > static_cast<std::size_t>(kLimit)) {
    throw std::invalid_argument("The offset of a component is beyond any memory.");
  }
  return static_cast<std::size_t>(size);
}

Components::Components(std::vector<Component> components) {
  for (Component& component : components) {
    const std::size_t size = element_count(component);
    required_size_ = std::max(required_size_, component.offset + size);
    segments_.push_back({std::move(component), size});
  }
}

void Components::set_rows(std::size_t rows) {
  for (Segment& segment : segments_) {
    std::int64_t& extent = segment.component.shape.at(0);
    segment.size = segment.size / static_cast<std::size_t>(extent) * rows;
    extent = static_cast<std::int64_t>(rows);
  }
}

void Components::prepare(std::size_t index) {
  if (index >= segments_.size()) {
    throw std::invalid_argument("An input is component " + std::to_string(index) + ", and there are only " +
                                std::to_string(segments_.size()) + ".");
  }
  Segment& segment = segments_[index];
  if (segment.component.dtype == TF_FLOAT && !segment.component.staging) {
    const auto buffer =
        std::make_shared<solvers::AlignedArray<float>>(solvers::AlignedArray<float>::zeros(segment.size));
    segment.component.staging = std::shared_ptr<float>(buffer, buffer->data());
  }
}

void Components::fail_size(std::size_t size) const {
  throw std::invalid_argument("x has " + std::to_string(size) + " elements, and the components end at " +
                              std::to_string(required_size_) + ".");
}

void Components::stage(Span<const double> x) const {
  for (const Segment& segment : segments_) {
    float* staging = segment.component.staging.get();
    if (staging == nullptr) continue;
    const double* source = x.data() + segment.component.offset;
    for (std::size_t i = 0; i < segment.size; ++i) staging[i] = static_cast<float>(source[i]);
  }
}

}  // namespace tfminimize
