#include "tfe/function_call.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

namespace tfminimize {

FunctionCall::FunctionCall(const TfeApi& api, TFE_Context* context, Components& components, FunctionOptions options,
                           std::vector<Output> outputs)
    : api_(api),
      context_(context),
      components_(components),
      inputs_(std::move(options.inputs)),
      outputs_(std::move(outputs)),
      repeatable_(options.repeatable),
      keeps_inputs_(options.keeps_inputs),
      host_device_(host_device_name(api, context)),
      status_(api) {
  for (const Input& input : inputs_) {
    if (const auto* index = std::get_if<std::size_t>(&input)) components_.prepare(*index);
  }
  if (options.calls.empty() || options.calls.size() > 2) {
    throw std::invalid_argument("There must be one or two ways to call.");
  }
  for (const CallOptions& call : options.calls) {
    calls_.push_back(std::make_unique<OpCall>(api, context, describe(call)));
    dispatches_.push_back(call.dispatch);
  }
}

OpDescription FunctionCall::describe(const CallOptions& options) const {
  std::vector<TF_DataType> inputs;
  for (const Input& input : inputs_) {
    const auto* index = std::get_if<std::size_t>(&input);
    inputs.push_back(index != nullptr ? components_.dtype(*index)
                                      : api_.tensor_handle_data_type(std::get<TensorHandle>(input).get()));
  }
  std::vector<TF_DataType> outputs;
  for (const Output& output : outputs_) outputs.push_back(output.dtype);

  OpDescription description;
  description.num_outputs = outputs.size();
  description.device = options.device;
  if (options.dispatch == Dispatch::kFunction) {
    description.name = options.function;
    description.set_attributes = [options](const TfeApi& tfe, TFE_Op* op) {
      // An attribute that is there, even if empty, is not the same as none: it asks for the graph optimisation.
      if (options.config_proto.empty()) return;
      tfe.op_set_attr_string(op, "config_proto", options.config_proto.data(), options.config_proto.size());
      tfe.op_set_attr_string(op, "executor_type", options.executor_type.data(), options.executor_type.size());
    };
  } else {
    description.name = "StatefulPartitionedCall";
    description.takes_list = true;
    // What the graph leaves open runs on the host, where x is.
    if (options.device.empty()) description.device = host_device_;
    description.set_attributes = [options, inputs, outputs](const TfeApi& tfe, TFE_Op* op) {
      tfe.op_set_attr_function_name(op, "f", options.function.data(), options.function.size());
      tfe.op_set_attr_type_list(op, "Tin", inputs.data(), static_cast<int>(inputs.size()));
      tfe.op_set_attr_type_list(op, "Tout", outputs.data(), static_cast<int>(outputs.size()));
    };
  }
  return description;
}

FunctionCall::Results::Results(FunctionCall& function, Span<const double> x) : function_(function), cleanup_(function) {
  function.prepare_arguments(x);
  function.run();
  if (!function.checked_) function.check_results();
  function.checked_ = true;
}

/// A tensor of the memory of one component of x, or of a copy.
TensorHandle FunctionCall::tensor(std::size_t component, Span<const double> x) const {
  // TensorFlow has no read-only tensors; it never writes to an input that somebody else holds too, and we do.
  void* const data = const_cast<void*>(components_.address(component, x));
  const TF_DataType dtype = components_.dtype(component);
  if (keeps_inputs_) {
    const std::size_t bytes = components_.size(component) * (dtype == TF_FLOAT ? sizeof(float) : sizeof(double));
    return copy_memory(api_, data, bytes, components_.shape(component), dtype, status_);
  }
  return import_memory(api_, context_, data, components_.shape(component), dtype,
                       dtype == TF_FLOAT ? components_.staging(component) : owner_, status_);
}

void FunctionCall::prepare_arguments(Span<const double> x) {
  arguments_.clear();
  for (const Input& input : inputs_) {
    if (const auto* index = std::get_if<std::size_t>(&input)) {
      // A fresh handle for every evaluation: TensorFlow believes that a tensor never changes, and a handle may keep a
      // copy of it on another device.
      fresh_.push_back(tensor(*index, x));
      arguments_.push_back(fresh_.back().get());
    } else {
      arguments_.push_back(std::get<TensorHandle>(input).get());
    }
  }
}

void FunctionCall::call(std::size_t way) {
  try {
    calls_[way]->run(arguments_, results_);
  } catch (const TensorFlowError& error) {
    // A partitioned call does not report which operation has failed.
    const bool retry = repeatable_ && way + 1 < calls_.size() && error.code() != TF_CANCELLED;
    if (!retry) throw;
    calls_[way + 1]->run(arguments_, results_);
  }
}

/// Calls the function on arguments_, in the way whose turn it is, and leaves what it returns in results_.
void FunctionCall::run() {
  if (calls_.size() == 1) {
    call(0);
  } else if (trial_.running()) {
    const auto start = std::chrono::steady_clock::now();
    call(trial_.choice());
    for (const TensorHandle& result : results_) {  // waits for it
      api_.tensor_handle_device_pointer(result.get(), status_.get());
      status_.check();
    }
    trial_.record(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  } else {
    call(trial_.choice());
    trial_.record(0);
  }
}

void FunctionCall::cancel() {
  for (const auto& call : calls_) call->cancel();
}

void FunctionCall::check_results() const {
  if (results_.size() != outputs_.size()) {
    throw std::invalid_argument("The function returned " + std::to_string(results_.size()) + " tensors, and " +
                                std::to_string(outputs_.size()) + " were expected.");
  }
  for (std::size_t i = 0; i < results_.size(); ++i) {
    const TF_DataType found = api_.tensor_handle_data_type(results_[i].get());
    if (found == outputs_[i].dtype) continue;
    throw std::invalid_argument("The " + outputs_[i].name + " is " + name_of(found) + ", and " +
                                name_of(outputs_[i].dtype) + " was expected.");
  }
}

void FunctionCall::fail_size(std::size_t index, std::int64_t size) const {
  throw std::invalid_argument("The " + outputs_[index].name + " has " + std::to_string(size) +
                              " elements; it must have " + std::to_string(outputs_[index].size) + ".");
}

double FunctionCall::Results::scalar(std::size_t index) const {
  double value = 0;
  read(index, [&](const auto* source) { value = static_cast<double>(*source); });
  return value;
}

void FunctionCall::Results::copy(std::size_t index, double* target) const {
  const std::size_t size = function_.outputs_[index].size;
  read(index, [&](const auto* source) {
    std::transform(source, source + size, target, [](auto value) { return static_cast<double>(value); });
  });
}

/// The tensor that is passed as it is at a position.
const TensorHandle& FunctionCall::replaceable(std::size_t position) const {
  const auto* current = position < inputs_.size() ? std::get_if<TensorHandle>(&inputs_[position]) : nullptr;
  if (current == nullptr) {
    throw std::invalid_argument("Input " + std::to_string(position) + " is not a tensor that can be replaced.");
  }
  return *current;
}

void FunctionCall::check_input(std::size_t position, const TensorHandle& tensor) const {
  if (api_.tensor_handle_data_type(replaceable(position).get()) != api_.tensor_handle_data_type(tensor.get())) {
    throw std::invalid_argument("The tensor for input " + std::to_string(position) +
                                " has another dtype than the one that it replaces.");
  }
}

void FunctionCall::set_input(std::size_t position, TensorHandle tensor) {
  check_input(position, tensor);
  inputs_[position] = std::move(tensor);
}

void FunctionCall::begin_batch(const std::vector<BatchedInput>& inputs) {
  std::vector<Batched> batch;
  for (const BatchedInput& input : inputs) {
    const TensorHandle& usual = replaceable(input.position);
    if (api_.tensor_handle_data_type(usual.get()) != input.dtype) {
      throw std::invalid_argument("The array for input " + std::to_string(input.position) +
                                  " has another dtype than the tensor that it replaces.");
    }
    batch.push_back({input, share(api_, usual.get())});
  }
  batch_ = std::move(batch);
}

void FunctionCall::select(std::size_t problem) {
  for (const auto& [input, usual] : batch_) {
    // A fresh tensor, see prepare_arguments(); and a copy, as rows of an array are seldom aligned.
    inputs_[input.position] = copy_memory(api_, input.value(problem), input.bytes, input.shape, input.dtype, status_);
  }
}

void FunctionCall::end_batch() {
  for (auto& [input, usual] : batch_) inputs_[input.position] = std::move(usual);
  batch_.clear();
}

double FunctionCall::repeat(Span<const double> x, std::int64_t count) {
  const Cleanup cleanup(*this);
  OpCall& call = *calls_[calls_.size() > 1 ? trial_.winner() : 0];
  prepare_arguments(x);
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < count; ++i) {
    fresh_.clear();
    results_.clear();
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      const auto* index = std::get_if<std::size_t>(&inputs_[k]);
      if (index == nullptr) continue;
      fresh_.push_back(tensor(*index, x));
      arguments_[k] = fresh_.back().get();
    }
    call.run(arguments_, results_);
    api_.tensor_handle_device_pointer(results_[0].get(), status_.get());  // waits for the result
    status_.check();
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / static_cast<double>(count);
}

const void* FunctionCall::input_address(Span<const double> x, std::size_t position) {
  const auto* index = position < inputs_.size() ? std::get_if<std::size_t>(&inputs_[position]) : nullptr;
  if (index == nullptr) throw std::invalid_argument("Input " + std::to_string(position) + " is not a component.");
  const TensorHandle handle = tensor(*index, x);
  const void* address = api_.tensor_handle_device_pointer(handle.get(), status_.get());
  status_.check();
  return address;
}

}  // namespace tfminimize
