#ifndef TFMINIMIZE_OBJECTIVES_BATCHED_INPUT_H_
#define TFMINIMIZE_OBJECTIVES_BATCHED_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tensorflow/c/tf_datatype.h"

namespace tfminimize {

/// An input of a function that differs between the problems of a batch. One array holds its values, in their order.
struct BatchedInput {
  std::size_t position = 0;  ///< Among the inputs of the function.
  TF_DataType dtype = TF_DOUBLE;
  std::vector<std::int64_t> shape;  ///< Of one value.
  std::size_t bytes = 0;            ///< Of one value.
  std::size_t count = 0;            ///< Number of values.
  std::size_t repeat = 1;           ///< So many problems, one after another, have the same value.
  const std::byte* data = nullptr;
  std::shared_ptr<const void> owner;  ///< Keeps `data` alive.

  /// The value for one problem. Throws std::out_of_range if there is no such problem.
  const void* value(std::size_t problem) const {
    if (problem / repeat < count) return data + problem / repeat * bytes;
    throw std::out_of_range("Problem " + std::to_string(problem) + " is asked for, and input " +
                            std::to_string(position) + " has values for " + std::to_string(count * repeat) + ".");
  }
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_BATCHED_INPUT_H_
