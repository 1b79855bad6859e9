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

/// Makes a function ready to be called from a kernel with tensors in host memory: optimised by Grappler, and its
/// operations placed, as TensorFlow does it for a call of a function. If `jit_compile`, the body of the function is one
/// such call, of a function that XLA compiles. `name` says in messages which function it is. Throws StatusError, also
/// unless the function has this signature.
tensorflow::FunctionLibraryRuntime::Handle instantiate(tensorflow::FunctionLibraryRuntime& library,
                                                       const tensorflow::NameAttrList& function,
                                                       const std::string& name, const Signature& signature,
                                                       bool jit_compile);

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_INSTANTIATE_H_
