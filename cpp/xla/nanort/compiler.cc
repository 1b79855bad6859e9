#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/compiler/tf2xla/const_analysis.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/core/common_runtime/function_body.h"
#include "tensorflow/core/common_runtime/function_def_utils.h"
#include "tensorflow/core/common_runtime/process_function_library_runtime.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/public/version.h"
#include "xla/nanort/lowering.h"
#include "xla/nanort/messages.h"
#include "xla/nanort/nanort_program.h"
#include "xla/xla_compiler.h"

namespace tfminimize::xla {
namespace {

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw std::runtime_error(absl::StrCat(parts...));
}

/// Throws with the first line of XLA's message, which may go on for pages.
[[noreturn]] void refuse_for_xla(std::string line) {
  constexpr std::size_t kLongest = 300;
  line.resize(std::min(line.find('\n'), line.size()));
  if (line.size() > kLongest) line = line.substr(0, kLongest - 3) + "...";
  refuse("XLA cannot compile it: ", line);
}

/// Operations that count as stateful, but only call functions, or check values, which XLA leaves out.
bool is_stateless(const std::string& op) {
  static const auto* const ops = new std::set<std::string>{
      "Assert", "Case", "CheckNumerics", "CheckNumericsV2", "If", "Placeholder", "While", "StatefulPartitionedCall"};
  return ops->count(op) > 0;
}

/// Whether an operation keeps its own state, not that of an input resource, as random numbers do.
bool keeps_state(const tensorflow::OpDef& op) {
  if (!op.is_stateful() || is_stateless(op.name())) return false;
  return std::none_of(op.input_arg().begin(), op.input_arg().end(),
                      [](const tensorflow::OpDef::ArgDef& input) { return input.type() == tensorflow::DT_RESOURCE; });
}

/// Refuses side effects, since the solver runs machine code any number of times, and in several threads; and lists that
/// grow, for which XLA computes wrong values or ends the process. xla.py does the same for solves that Python starts.
void check_effects(const tensorflow::FunctionDefLibrary& library) {
  for (const tensorflow::FunctionDef& function : library.function()) {
    for (const tensorflow::NodeDef& node : function.node_def()) {
      const auto resizes = node.attr().find("resize_if_index_out_of_bounds");
      if (resizes != node.attr().end() && resizes->second.b()) {
        refuse("XLA cannot compile it: '", node.name(), "' (", node.op(), ") lets a tf.TensorArray grow");
      }
      const tensorflow::OpRegistrationData* op = nullptr;
      if (!tensorflow::OpRegistry::Global()->LookUp(node.op(), &op).ok()) continue;  // a function
      if (!keeps_state(op->op_def)) continue;
      refuse("operation '", node.name(), "' (", node.op(), ") of the function keeps its own state");
    }
  }
}

/// The functions that a function calls, by its operations or their attributes.
std::vector<std::string> called_functions(const tensorflow::FunctionDef& function) {
  std::vector<std::string> names;
  for (const tensorflow::NodeDef& node : function.node_def()) {
    names.push_back(node.op());
    for (const auto& [key, value] : node.attr()) {
      if (value.has_func()) names.push_back(value.func().name());
      for (const tensorflow::NameAttrList& one : value.list().func()) names.push_back(one.name());
    }
  }
  return names;
}

/// Refuses functions that call themselves, for which XLA goes on until the stack overflows. Functions that call no
/// others but those that are done are done.
void check_recursion(const tensorflow::FunctionDefLibrary& library) {
  std::map<std::string, std::vector<std::string>> waiting;
  for (const tensorflow::FunctionDef& function : library.function()) {
    waiting[function.signature().name()] = called_functions(function);
  }
  for (std::size_t before = 0; waiting.size() != before;) {
    before = waiting.size();
    for (auto function = waiting.begin(); function != waiting.end();) {
      const std::vector<std::string>& calls = function->second;
      const bool is_done =
          std::none_of(calls.begin(), calls.end(), [&](const std::string& name) { return waiting.count(name) > 0; });
      function = is_done ? waiting.erase(function) : std::next(function);
    }
  }
  if (!waiting.empty()) refuse("XLA cannot compile it: function ", waiting.begin()->first, " calls itself");
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
  check_effects(functions);
  check_recursion(functions);
  return compiled([&] { return find_constants(function, functions); });
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
