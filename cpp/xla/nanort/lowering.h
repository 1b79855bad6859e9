#ifndef TFMINIMIZE_XLA_NANORT_LOWERING_H_
#define TFMINIMIZE_XLA_NANORT_LOWERING_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tfminimize::xla {

/// An argument of a function of TensorFlow.
struct LoweringArgument {
  int dtype = 0;                    ///< A tensorflow::DataType; for a variable, that of its value.
  std::vector<std::int64_t> shape;  ///< For a variable, that of its value.
  bool is_variable = false;         ///< Whether the function reads it through a resource.
  std::string constant;             ///< A serialized tensorflow::TensorProto, if the value is known.
};

/// Translates a function of TensorFlow to a serialized xla::HloModuleProto. The program has one parameter for each
/// argument that is not a constant, and returns a tuple.
///
/// `library`: a serialized tensorflow::FunctionDefLibrary with the function and those that it calls.
///
/// TensorFlow compiles functions in the same way. Its eager runtime has an interface for that, but that never frees
/// half a megabyte for each function.
///
/// Throws std::runtime_error with XLA's message.
std::string lower(const std::string& function, std::string_view library,
                  const std::vector<LoweringArgument>& arguments);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_NANORT_LOWERING_H_
