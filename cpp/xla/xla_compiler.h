#ifndef TFMINIMIZE_XLA_XLA_COMPILER_H_
#define TFMINIMIZE_XLA_XLA_COMPILER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "xla/xla_program.h"

namespace tfminimize::xla {

/// An argument of a function of TensorFlow.
struct LoweringArgument {
  int dtype = 0;                    ///< A tensorflow::DataType; for a variable, that of its value.
  std::vector<std::int64_t> shape;  ///< For a variable, that of its value.
  bool is_variable = false;         ///< Whether the function reads it through a resource.
  std::string constant;             ///< A serialized tensorflow::TensorProto, if XLA is to know the value.
};

/// What the extension that links to XLA offers to a library that loads it without Python.
///
/// `library` is a serialized tensorflow::FunctionDefLibrary with the function and those that it calls. All functions
/// throw std::runtime_error with a sentence that says why the function cannot be machine code.
struct XlaCompiler {
  /// TFMINIMIZE_BORDER_ID of that extension; must be the first member. If it differs, the others must not be used.
  const char* border_id;

  /// Checks the side effects of a function. Says for each argument whether XLA must know its value.
  std::vector<bool> (*constant_arguments)(const std::string& function, std::string_view library);

  /// Compiles a function for this processor. The program has one parameter for each argument that is a variable or not
  /// a constant. `results` are the shapes that the results must have.
  std::shared_ptr<XlaProgram> (*compile)(const std::string& function, std::string_view library,
                                         const std::vector<LoweringArgument>& arguments,
                                         const std::vector<std::vector<std::size_t>>& results);
};

/// The name of the function `const XlaCompiler* ()` that the extension exports.
inline constexpr char kXlaCompilerSymbol[] = "tfminimize_xla_compiler";

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_XLA_COMPILER_H_
