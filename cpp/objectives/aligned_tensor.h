#ifndef TFMINIMIZE_OBJECTIVES_ALIGNED_TENSOR_H_
#define TFMINIMIZE_OBJECTIVES_ALIGNED_TENSOR_H_

#include <cstddef>
#include <cstring>
#include <memory>

#include "objectives/compiled_function.h"
#include "solvers/aligned_array.h"

namespace tfminimize {

/// A copy of elements on the host.
inline InputTensor aligned_copy(const void* data, TF_DataType dtype, std::size_t bytes) {
  const auto buffer = std::make_shared<solvers::AlignedArray<unsigned char>>(bytes);
  if (bytes > 0) std::memcpy(buffer->data(), data, bytes);
  return {std::shared_ptr<const void>(buffer, buffer->data()), dtype, bytes};
}

/// The tensor itself if its elements on the host are aligned, else a copy.
inline InputTensor aligned_tensor(InputTensor tensor) {
  if (solvers::is_aligned(tensor.value.get())) return tensor;
  return aligned_copy(tensor.value.get(), tensor.dtype, tensor.bytes);
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_ALIGNED_TENSOR_H_
