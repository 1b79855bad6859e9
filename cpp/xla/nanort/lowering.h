#ifndef TFMINIMIZE_XLA_NANORT_LOWERING_H_
#define TFMINIMIZE_XLA_NANORT_LOWERING_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "xla/xla_compiler.h"

namespace tfminimize::xla {

/// A function of TensorFlow as a program of XLA.
struct Lowered {
  std::string module;                            ///< A serialized xla::HloModuleProto.
  std::vector<std::vector<std::size_t>> shapes;  ///< Of the results.
  bool writes_to_variables = false;
};

/// Translates a function of TensorFlow. The program has one parameter for each argument that is a variable or not a
/// constant, and returns a tuple.
///
/// `library`: a serialized tensorflow::FunctionDefLibrary with the function and those that it calls.
///
/// TensorFlow compiles functions in the same way. Its eager runtime has an interface for that, but that never frees
/// half a megabyte for each function.
///
/// Throws std::runtime_error with XLA's message.
Lowered lower(const std::string& function, std::string_view library, const std::vector<LoweringArgument>& arguments);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_NANORT_LOWERING_H_
