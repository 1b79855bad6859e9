#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "tensorflow/compiler/tf2xla/const_analysis.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/core/common_runtime/function_body.h"
#include "tensorflow/core/common_runtime/function_def_utils.h"
#include "tensorflow/core/common_runtime/process_function_library_runtime.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/public/version.h"
#include "xla/nanort/checks.h"
#include "xla/nanort/lowering.h"
#include "xla/nanort/messages.h"
#include "xla/nanort/nanort_program.h"
#include "xla/xla_compiler.h"

namespace tfminimize::xla {
namespace {

/// Throws with the first line of XLA's message, which may go on for pages.
[[noreturn]] void refuse_for_xla(std::string line) {
  constexpr std::size_t kLongest = 300;
  line.resize(std::min(line.find('\n'), line.size()));
  if (line.size() > kLongest) line = line.substr(0, kLongest - 3) + "...";
  refuse("XLA cannot compile it: ", line);
}

/// Finds the arguments whose values XLA must know, as TensorFlow does before it compiles a function.
std::vector<bool> find_constants(const std::string& function, const tensorflow::FunctionDefLibrary& library) {
  tensorflow::XlaOpRegistry::RegisterCompilationKernels();
  const tensorflow::FunctionLibraryDefinition definitions(tensorflow::OpRegistry::Global(), library);
  const tensorflow::FunctionDef* definition = definitions.Find(function);
  if (definition == nullptr) refuse("there is no function ", function);
  tensorflow::ProcessFunctionLibraryRuntime runtime(nullptr, tensorflow::Env::Default(), nullptr, TF_GRAPH_DEF_VERSION,
                                                    &definitions, {});
  std::unique_ptr<tensorflow::FunctionBody> body;
  check(tensorflow::FunctionDefToBodyHelper(*definition, {}, &definitions, &body));
  std::vector<bool> constants(body->arg_types.size());
  check(tensorflow::BackwardsConstAnalysis(
      *body->graph, &constants, nullptr, runtime.GetFLR(tensorflow::ProcessFunctionLibraryRuntime::kDefaultFLRDevice)));
  return constants;
}

/// Calls what compiles; if it throws, refuses for that reason.
template <typename Compile>
auto compiled(const Compile& compile) {
  try {
    return compile();
  } catch (const std::exception& error) {
    refuse_for_xla(error.what());
  }
}

std::vector<bool> constant_arguments(const std::string& function, std::string_view library) {
  const auto functions = parse<tensorflow::FunctionDefLibrary>(library);
  check_state(functions);
  return compiled([&] {
    check_lowerable(functions);
    return find_constants(function, functions);
  });
}

void check_shapes(const std::vector<std::vector<std::size_t>>& found,
                  const std::vector<std::vector<std::size_t>>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (i < found.size() && found[i] == expected[i]) continue;
    refuse("result ", i, " of the function does not have shape [", absl::StrJoin(expected[i], ","), "]");
  }
}

std::shared_ptr<XlaProgram> compile(const std::string& function, std::string_view library,
                                    const std::vector<LoweringArgument>& arguments,
                                    const std::vector<std::vector<std::size_t>>& results) {
  const Lowered lowered = compiled([&] { return lower(function, library, arguments); });
  if (lowered.writes_to_variables) refuse("the function writes to a variable");
  check_shapes(lowered.shapes, results);
  std::shared_ptr<XlaProgram> program = compiled([&] { return compile_program(lowered.module); });
  if (program->results().size() != results.size()) refuse("a result of the function is a constant");
  return program;
}

}  // namespace
}  // namespace tfminimize::xla

extern "C" __attribute__((visibility("default"))) const tfminimize::xla::XlaCompiler* tfminimize_xla_compiler() {
  static const tfminimize::xla::XlaCompiler compiler{TFMINIMIZE_BORDER_ID, &tfminimize::xla::constant_arguments,
                                                     &tfminimize::xla::compile};
  return &compiler;
}
