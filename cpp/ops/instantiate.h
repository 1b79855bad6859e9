#ifndef TFMINIMIZE_OPS_INSTANTIATE_H_
#define TFMINIMIZE_OPS_INSTANTIATE_H_

#include "tensorflow/core/framework/attr_value.pb.h"
#include "tensorflow/core/framework/function.h"

namespace tfminimize {

/// Makes a function ready to be called from a kernel with tensors in host memory: optimised by Grappler, and its
/// operations placed, as TensorFlow does it for a call of a function. If `jit_compile`, the body of the function is one
/// such call, of a function that XLA compiles. Throws StatusError.
tensorflow::FunctionLibraryRuntime::Handle instantiate(tensorflow::FunctionLibraryRuntime& library,
                                                       const tensorflow::NameAttrList& function, bool jit_compile);

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_INSTANTIATE_H_
