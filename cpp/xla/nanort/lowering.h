#ifndef TFMINIMIZE_XLA_NANORT_LOWERING_H_
#define TFMINIMIZE_XLA_NANORT_LOWERING_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tfminimize::xla {

/// An argument of a function of TensorFlow.
struct LoweringArgument {
  int dtype = 0;                    ///< A tensorflow::DataType; of a variable, that of its value.
  std::vector<std::int64_t> shape;  ///< Likewise.
  bool is_variable = false;         ///< Whether the function reads it through a resource.
  std::string constant;             ///< A serialized tensorflow::TensorProto, if the value is known.
};

/// What a function of TensorFlow computes, as a serialized xla::HloModuleProto: one parameter for each argument that is
/// no constant, and a tuple of the results.
///
/// `library`: a serialized tensorflow::FunctionDefLibrary with the function and those that it calls.
///
/// TensorFlow compiles functions in the same way. Its own interface to that, of its eager runtime, keeps half a
/// megabyte for each function for ever.
///
/// Throws std::runtime_error with the message of XLA.
std::string lower(const std::string& function, std::string_view library,
                  const std::vector<LoweringArgument>& arguments);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_NANORT_LOWERING_H_
