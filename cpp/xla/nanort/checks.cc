#include "xla/nanort/checks.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "xla/nanort/messages.h"

namespace tfminimize::xla {
namespace {

/// Operations that count as stateful, but only call functions, or check values, which XLA leaves out.
bool is_stateless(const std::string& op) {
  static const auto* const ops = new std::set<std::string>{
      "Assert", "Case", "CheckNumerics", "CheckNumericsV2", "If", "Placeholder", "While", "StatefulPartitionedCall"};
  return ops->count(op) > 0;
}

bool keeps_state(const tensorflow::OpDef& op) {
  if (!op.is_stateful() || is_stateless(op.name())) return false;
  return std::none_of(op.input_arg().begin(), op.input_arg().end(),
                      [](const tensorflow::OpDef::ArgDef& input) { return input.type() == tensorflow::DT_RESOURCE; });
}

void check_lists(const tensorflow::FunctionDefLibrary& library) {
  for (const tensorflow::FunctionDef& function : library.function()) {
    for (const tensorflow::NodeDef& node : function.node_def()) {
      const auto resizes = node.attr().find("resize_if_index_out_of_bounds");
      if (resizes == node.attr().end() || !resizes->second.b()) continue;
      refuse("'", node.name(), "' (", node.op(), ") lets a tf.TensorArray grow");
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

/// Functions that call no others but those that are done are done.
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
  if (!waiting.empty()) refuse("function ", waiting.begin()->first, " calls itself");
}

}  // namespace

void check_state(const tensorflow::FunctionDefLibrary& library) {
  for (const tensorflow::FunctionDef& function : library.function()) {
    for (const tensorflow::NodeDef& node : function.node_def()) {
      const tensorflow::OpRegistrationData* op = nullptr;
      if (!tensorflow::OpRegistry::Global()->LookUp(node.op(), &op).ok()) continue;  // a function
      if (!keeps_state(op->op_def)) continue;
      refuse("operation '", node.name(), "' (", node.op(), ") of the function keeps its own state");
    }
  }
}

void check_lowerable(const tensorflow::FunctionDefLibrary& library) {
  check_lists(library);
  check_recursion(library);
}

}  // namespace tfminimize::xla
