#ifndef TFMINIMIZE_OPS_INSTANTIATE_H_
#define TFMINIMIZE_OPS_INSTANTIATE_H_

#include <string>
#include <vector>

#include "tensorflow/core/framework/attr_value.pb.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/refcount.h"

namespace tfminimize {

/// What a function takes and returns.
struct Signature {
  std::vector<tensorflow::DataType> arguments;
  std::vector<tensorflow::DataType> results;
};

/// An attribute of an op that names functions, and what each must take and return.
struct FunctionAttribute {
  const char* name;
  std::vector<tensorflow::NameAttrList> functions;
  std::vector<Signature> signatures;
};

/// A function that is ready to be called with tensors in host memory, and its name in messages.
struct Callable {
  tensorflow::FunctionLibraryRuntime::Handle handle;
  std::string name;
};

/// The functions of an op in one library. The op may outlive the library.
class Instantiated {
 public:
  /// Prepares all functions. Grappler optimises them and their operations are placed on devices, as TensorFlow does for
  /// every function call. With `jit_compile`, the body of each is one call of a function that XLA compiles. Throws
  /// StatusError, for instance if a function has another signature.
  Instantiated(tensorflow::FunctionLibraryRuntime& library, const std::vector<FunctionAttribute>& attributes,
               bool jit_compile);
  ~Instantiated();
  Instantiated(Instantiated&&) = default;
  Instantiated(const Instantiated&) = delete;
  Instantiated& operator=(Instantiated&&) = delete;
  Instantiated& operator=(const Instantiated&) = delete;

  /// Whether the library still exists; another one may have its address by now.
  bool is_alive() const { return library_.GetNewRef() != nullptr; }

  const std::vector<Callable>& functions() const { return functions_; }

 private:
  tsl::core::WeakPtr<tensorflow::FunctionLibraryRuntime> library_;
  std::vector<Callable> functions_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_INSTANTIATE_H_
