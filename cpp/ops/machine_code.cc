#include "ops/machine_code.h"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string_view>

#include "objectives/aligned_tensor.h"
#include "ops/xla_library.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/tensor_util.h"

namespace tfminimize {
namespace {

using tensorflow::FunctionDef;
using tensorflow::FunctionLibraryDefinition;
using tensorflow::OpDef;
using tensorflow::Tensor;

[[noreturn]] void refuse(const std::string& reason) { throw std::runtime_error(reason); }

/// The names of the arguments that a function uses.
std::set<std::string, std::less<>> used_names(const FunctionDef& function) {
  std::set<std::string, std::less<>> names;
  // An input is "argument", "node:output:0" or "^node".
  const auto add = [&names](std::string_view input) { names.emplace(input.substr(0, input.find(':'))); };
  for (const tensorflow::NodeDef& node : function.node_def()) {
    for (const std::string& input : node.input()) add(input);
  }
  for (const auto& [name, result] : function.ret()) add(result);
  return names;
}

/// Removes the arguments that are not used. Returns the indices of the others.
std::vector<std::size_t> keep_used_arguments(FunctionDef& function) {
  const auto used = used_names(function);
  std::vector<std::size_t> kept;
  auto& arguments = *function.mutable_signature()->mutable_input_arg();
  const auto given = arguments;
  arguments.Clear();
  for (int i = 0; i < given.size(); ++i) {
    if (used.count(given[i].name()) == 0) continue;
    kept.push_back(static_cast<std::size_t>(i));
    *arguments.Add() = given[i];
  }
  function.clear_arg_attr();  // they are by index, and say how arguments are named
  function.clear_resource_arg_unique_id();
  return kept;
}

bool is_empty(const std::vector<std::size_t>& shape) { return std::find(shape.begin(), shape.end(), 0) != shape.end(); }

/// Removes the results without elements.
void remove_empty_results(FunctionDef& function, const MachineCode::Shapes& shapes) {
  auto& results = *function.mutable_signature()->mutable_output_arg();
  const auto given = results;
  results.Clear();
  for (int i = 0; i < given.size(); ++i) {
    const auto index = static_cast<std::size_t>(i);
    if (index < shapes.size() && is_empty(shapes[index])) {
      function.mutable_ret()->erase(given[i].name());
    } else {
      *results.Add() = given[i];
    }
  }
}

MachineCode::Shapes without_empty(MachineCode::Shapes shapes) {
  shapes.erase(std::remove_if(shapes.begin(), shapes.end(), is_empty), shapes.end());
  return shapes;
}

Tensor value_of(tensorflow::Var& variable) {
  const tensorflow::tf_shared_lock lock(*variable.mu());
  // A sparse operation may write to the memory of such a variable.
  return variable.copy_on_read_mode.load() ? tensorflow::tensor::DeepCopy(*variable.tensor()) : *variable.tensor();
}

}  // namespace

MachineArguments::MachineArguments(tensorflow::OpKernelContext& context, std::size_t size, const Captures& captures)
    : context_(context), arguments_(captures.tensors.size() + 1) {
  arguments_[0].dtype = tensorflow::DT_DOUBLE;
  arguments_[0].shape.AddDim(static_cast<std::int64_t>(size));
  arguments_[0].varies = true;
  for (std::size_t i = 0; i < captures.tensors.size(); ++i) {
    Argument& argument = arguments_[i + 1];
    argument.value = captures.tensors[i];
    argument.dtype = argument.value.dtype();
    argument.shape = argument.value.shape();
    argument.is_variable = argument.dtype == tensorflow::DT_RESOURCE;
  }
  for (const BatchedInput& input : captures.batched) arguments_.at(input.position).varies = true;
  for (const VariableComponent& variable : captures.variables) {
    const std::size_t index = static_cast<std::size_t>(variable.capture) + 1;
    Argument& argument = arguments_.at(index);
    argument.dtype = variable.dtype;
    variable.shape.AsTensorShape(&argument.shape);
    argument.value = Tensor(argument.dtype, argument.shape);
    argument.varies = true;
    argument.offset = variable.offset;
    staged_.push_back(index);
  }
}

void MachineArguments::read(std::size_t index) {
  Argument& argument = arguments_[index];
  if (argument.dtype != tensorflow::DT_RESOURCE) return;
  tensorflow::core::RefCountPtr<tensorflow::Var> variable;
  const bool is_handle = argument.value.NumElements() == 1;
  if (!is_handle ||
      !tensorflow::LookupResource(&context_, argument.value.flat<tensorflow::ResourceHandle>()(0), &variable).ok()) {
    refuse("the function uses a resource that is not a variable on this device");
  }
  if (!variable->is_initialized) refuse("the function uses a variable that is not initialized");
  argument.value = value_of(*variable);
  argument.dtype = argument.value.dtype();
  argument.shape = argument.value.shape();
}

xla::LoweringArgument MachineArguments::describe(std::size_t index, bool with_value) const {
  const Argument& argument = arguments_[index];
  const auto sizes = argument.shape.dim_sizes();
  xla::LoweringArgument described{argument.dtype, {sizes.begin(), sizes.end()}, argument.is_variable, ""};
  if (with_value && !argument.is_variable) {
    tensorflow::TensorProto proto;
    argument.value.AsProtoTensorContent(&proto);
    described.constant = proto.SerializeAsString();
  }
  return described;
}

void MachineArguments::add_to_key(std::size_t index, bool with_value, std::string& key) const {
  const Argument& argument = arguments_[index];
  const auto add = [&key](std::int64_t number) { key.append(reinterpret_cast<const char*>(&number), sizeof(number)); };
  add(argument.dtype);
  add(argument.shape.dims());
  for (int axis = 0; axis < argument.shape.dims(); ++axis) add(argument.shape.dim_size(axis));
  if (with_value && !argument.is_variable) key.append(argument.value.tensor_data());
}

CompiledFunction::Input MachineArguments::input(std::size_t index) const {
  if (index == 0) return std::size_t{0};
  const auto owner = std::make_shared<Tensor>(arguments_[index].value);
  return aligned_tensor({std::shared_ptr<const void>(owner, owner->data()), static_cast<TF_DataType>(owner->dtype()),
                         owner->TotalBytes()});
}

void MachineArguments::stage(Span<const double> x) const {
  for (const std::size_t index : staged_) {
    const Argument& argument = arguments_[index];
    const double* first = x.data() + argument.offset;
    const double* last = first + argument.shape.num_elements();
    if (argument.dtype == tensorflow::DT_FLOAT) {
      std::transform(first, last, static_cast<float*>(argument.value.data()),
                     [](double value) { return static_cast<float>(value); });
    } else {
      std::copy(first, last, static_cast<double*>(argument.value.data()));
    }
  }
}

namespace {

std::vector<CompiledFunction::Input> inputs_of(const MachineProgram& program, const MachineArguments& arguments) {
  std::vector<CompiledFunction::Input> inputs;
  inputs.reserve(program.arguments.size());
  for (const std::size_t index : program.arguments) inputs.push_back(arguments.input(index));
  return inputs;
}

}  // namespace

MachineFunction::MachineFunction(const MachineProgram& program, const MachineArguments& arguments,
                                 Components& components, std::vector<Output> outputs)
    : Function(program.program, components, inputs_of(program, arguments), std::move(outputs)),
      arguments_(arguments),
      taken_(program.arguments) {}

void MachineFunction::begin_batch(const std::vector<BatchedInput>& inputs) {
  std::vector<BatchedInput> own;
  for (const BatchedInput& input : inputs) {
    const auto found = std::find(taken_.begin(), taken_.end(), input.position);
    if (found == taken_.end()) continue;  // not used
    own.push_back(input);
    own.back().position = static_cast<std::size_t>(found - taken_.begin());
  }
  xla::Function::begin_batch(own);
}

std::vector<MachineProgram> MachineCode::programs(const FunctionLibraryDefinition& library, MachineArguments& arguments,
                                                  const std::vector<Shapes>& results) {
  constexpr std::size_t kMaxAttempts = 8;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (prepared_.empty() && reason_.empty()) {
    try {
      prepare(library, results);
    } catch (const std::runtime_error& error) {
      prepared_.clear();
      reason_ = error.what();
    }
  }
  if (!reason_.empty()) refuse(reason_);
  std::string key;
  for (const Prepared& function : prepared_) {
    for (std::size_t i = 0; i < function.arguments.size(); ++i) {
      arguments.read(function.arguments[i]);
      arguments.add_to_key(function.arguments[i], function.is_constant[i], key);
    }
  }
  auto found = std::find_if(attempts_.begin(), attempts_.end(), [&](const Attempt& one) { return one.key == key; });
  if (found == attempts_.end()) {
    attempts_.push_front({std::move(key), {}, {}});
    found = attempts_.begin();
    try {
      found->programs = compile(arguments, results);
    } catch (const std::runtime_error& error) {
      found->reason = error.what();
    }
    if (attempts_.size() > kMaxAttempts) attempts_.pop_back();
  } else {
    attempts_.splice(attempts_.begin(), attempts_, found);
  }
  if (!found->reason.empty()) refuse(found->reason);
  return found->programs;
}

/// Looks up the functions in the library, and what XLA must know to compile them.
void MachineCode::prepare(const FunctionLibraryDefinition& library, const std::vector<Shapes>& results) {
  const xla::XlaCompiler& compiler = xla_compiler();
  for (std::size_t i = 0; i < functions_.size(); ++i) {
    const FunctionDef* definition = library.Find(functions_[i].name());
    if (definition == nullptr || definition->signature().attr_size() > 0) {
      refuse("the function is not in the library, or has types that are not fixed");
    }
    tensorflow::FunctionDefLibrary functions = library.ReachableDefinitions(*definition).ToProto();
    auto& own = *functions.mutable_function();
    own.erase(std::remove_if(
                  own.begin(), own.end(),
                  [&](const FunctionDef& one) { return one.signature().name() == definition->signature().name(); }),
              own.end());
    FunctionDef function = *definition;
    Prepared prepared{functions_[i].name(), {}, keep_used_arguments(function), {}};
    remove_empty_results(function, results[i]);
    *functions.add_function() = std::move(function);
    prepared.library = functions.SerializeAsString();
    prepared.is_constant = compiler.constant_arguments(prepared.name, prepared.library);
    prepared_.push_back(std::move(prepared));
  }
}

std::vector<MachineProgram> MachineCode::compile(const MachineArguments& arguments,
                                                 const std::vector<Shapes>& results) const {
  std::vector<MachineProgram> programs;
  for (std::size_t i = 0; i < prepared_.size(); ++i) {
    const Prepared& function = prepared_[i];
    std::vector<xla::LoweringArgument> described;
    MachineProgram program;
    for (std::size_t k = 0; k < function.arguments.size(); ++k) {
      const std::size_t argument = function.arguments[k];
      if (function.is_constant[k] && arguments.varies(argument)) {
        refuse(argument == 0 ? "XLA must know x when it compiles the function, since a size depends on it"
                             : "XLA must know a tensor that varies when it compiles the function, since a size depends "
                               "on it");
      }
      described.push_back(arguments.describe(argument, function.is_constant[k]));
      if (described.back().constant.empty()) program.arguments.push_back(argument);
    }
    program.program = xla_compiler().compile(function.name, function.library, described, without_empty(results[i]));
    programs.push_back(std::move(program));
  }
  return programs;
}

}  // namespace tfminimize
