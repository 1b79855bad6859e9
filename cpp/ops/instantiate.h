#ifndef TFMINIMIZE_OPS_INSTANTIATE_H_
#define TFMINIMIZE_OPS_INSTANTIATE_H_

#include <string>
#include <vector>

#include "tensorflow/core/framework/attr_value.pb.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/types.h"

namespace tfminimize {

/// What a function takes and returns.
struct Signature {
  std::vector<tensorflow::DataType> arguments;
  std::vector<tensorflow::DataType> results;
};

/// Prepares a function so that a kernel can call it with tensors in host memory. Grappler optimises it and its
/// operations are placed on devices, as TensorFlow does for every function call. With `jit_compile`, the body of the
/// function is one call of a function that XLA compiles. `name` names the function in messages. Throws StatusError, for
/// instance if the function has another signature.
tensorflow::FunctionLibraryRuntime::Handle instantiate(tensorflow::FunctionLibraryRuntime& library,
                                                       const tensorflow::NameAttrList& function,
                                                       const std::string& name, const Signature& signature,
                                                       bool jit_compile);

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_INSTANTIATE_H_
