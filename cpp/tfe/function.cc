#include "tfe/function.h"

#include <chrono>
#include <stdexcept>
#include <utility>

namespace tfminimize::tfe {

InputTensor as_tensor(const TfeApi& api, TensorHandle handle) {
  const TF_DataType dtype = api.tensor_handle_data_type(handle.get());
  return {std::shared_ptr<TFE_TensorHandle>(std::move(handle)), dtype, 0};
}

Function::Function(const TfeApi& api, TFE_Context* context, Components& components, FunctionOptions options,
                   std::vector<Output> outputs)
    : CompiledFunction(components, std::move(options.inputs), std::move(outputs)),
      api_(api),
      context_(context),
      repeatable_(options.repeatable),
      keeps_inputs_(options.keeps_inputs),
      origin_(std::move(options.origin)),
      host_device_(host_device_name(api, context)),
      status_(api) {
  holds_results_ = true;
  is_forked();  // from now on it knows
  if (options.calls.empty() || options.calls.size() > 2) {
    throw std::invalid_argument("There must be one or two ways to call.");
  }
  for (const CallOptions& call : options.calls) {
    // TensorFlow would end the process if a partitioned call returned more tensors than the op has room for.
    if (call.dispatch == Dispatch::kPartitionedCall) check_count(count_outputs(api, context, call.function));
    calls_.push_back(std::make_unique<OpCall>(api, context, describe(call)));
    dispatches_.push_back(call.dispatch);
  }
}

OpDescription Function::describe(const CallOptions& options) const {
  std::vector<TF_DataType> input_dtypes;
  for (std::size_t i = 0; i < inputs().size(); ++i) {
    const std::size_t* index = component_at(i);
    input_dtypes.push_back(index != nullptr ? components().dtype(*index) : std::get<InputTensor>(inputs()[i]).dtype);
  }
  std::vector<TF_DataType> output_dtypes;
  for (const Output& output : outputs()) output_dtypes.push_back(output.dtype);

  OpDescription description;
  description.num_outputs = output_dtypes.size();
  description.device = options.device;
  if (options.dispatch == Dispatch::kFunction) {
    description.name = options.function;
    description.set_attributes = [options](const TfeApi& tfe, TFE_Op* op) {
      // An attribute that is set, even to nothing, asks for graph optimisation; a missing one does not.
      if (options.config_proto.empty()) return;
      tfe.op_set_attr_string(op, "config_proto", options.config_proto.data(), options.config_proto.size());
      tfe.op_set_attr_string(op, "executor_type", options.executor_type.data(), options.executor_type.size());
    };
  } else {
    description.name = "StatefulPartitionedCall";
    description.takes_list = true;
    // Operations without a device run on the host, where x is.
    if (options.device.empty()) description.device = host_device_;
    description.set_attributes = [options, input_dtypes, output_dtypes](const TfeApi& tfe, TFE_Op* op) {
      tfe.op_set_attr_function_name(op, "f", options.function.data(), options.function.size());
      tfe.op_set_attr_type_list(op, "Tin", input_dtypes.data(), static_cast<int>(input_dtypes.size()));
      tfe.op_set_attr_type_list(op, "Tout", output_dtypes.data(), static_cast<int>(output_dtypes.size()));
    };
  }
  return description;
}

const char* Function::way() const {
  return dispatches_[winner()] == Dispatch::kFunction ? "function" : "partitioned_call";
}

/// The way that was faster so far. In a forked process only the first of two works, because it needs no other thread.
std::size_t Function::winner() const { return calls_.size() > 1 && !is_forked() ? faster_.winner() : 0; }

/// The handle of the tensor at `position`, which must not be a component.
TFE_TensorHandle* Function::handle_at(std::size_t position) const {
  const void* handle = std::get<InputTensor>(inputs()[position]).value.get();
  return static_cast<TFE_TensorHandle*>(const_cast<void*>(handle));  // the C API has no const, but only reads
}

/// A tensor that shares the memory of one component of x, or holds a copy.
TensorHandle Function::component(std::size_t index, Span<const double> x) const {
  const Components& all = components();
  // TensorFlow has no read-only tensors, but it never writes to an input that somebody else holds, as we do.
  void* const data = const_cast<void*>(all.address(index, x));
  const TF_DataType dtype = all.dtype(index);
  if (keeps_inputs_) {
    const std::size_t bytes = all.size(index) * (dtype == TF_FLOAT ? sizeof(float) : sizeof(double));
    return copy_memory(api_, data, bytes, all.shape(index), dtype, status_);
  }
  return import_memory(api_, context_, data, all.shape(index), dtype, dtype == TF_FLOAT ? all.staging(index) : owner_,
                       status_);
}

void Function::prepare_arguments(Span<const double> x) {
  arguments_.clear();
  for (std::size_t i = 0; i < inputs().size(); ++i) {
    if (const std::size_t* index = component_at(i)) {
      // Every evaluation needs a fresh handle, since TensorFlow believes that a tensor never changes, and a handle may
      // keep a copy on another device.
      fresh_.push_back(component(*index, x));
      arguments_.push_back(fresh_.back().get());
    } else {
      arguments_.push_back(handle_at(i));
    }
  }
}

void Function::run(Span<const double> x) {
  try {
    prepare_arguments(x);
    call();
    if (!checked_) check_handles();
    checked_ = true;
    for (std::size_t i = 0; i < results_.size(); ++i) results_[i] = outputs()[i].is_array ? nullptr : find_result(i);
    keep_arrays();
  } catch (TensorFlowError& error) {
    release();
    error.set_origin(origin_);
    throw;
  } catch (...) {
    release();
    throw;
  }
}

void Function::keep_arrays() {
  on_host_.clear();
  arrays_.clear();
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    if (outputs()[i].is_array) arrays_.push_back(std::move(handles_[i]));
  }
}

std::vector<HostArray> Function::arrays() {
  std::vector<HostArray> result;
  on_host_.clear();
  for (const TensorHandle& handle : arrays_) {
    TfTensor tensor(api_.tensor_handle_resolve(handle.get(), status_.get()), api_.delete_tensor);
    status_.check();
    HostArray array{api_.tensor_data(tensor.get()), api_.tensor_byte_size(tensor.get()), {}};
    for (int i = 0; i < api_.num_dims(tensor.get()); ++i) array.shape.push_back(api_.dim(tensor.get(), i));
    result.push_back(std::move(array));
    on_host_.push_back(std::move(tensor));
  }
  return result;
}

void Function::release() {
  handles_.clear();
  copies_.clear();
  fresh_.clear();
}

void Function::call(std::size_t way) {
  try {
    calls_[way]->run(arguments_, handles_);
  } catch (const TensorFlowError& error) {
    // A partitioned call does not say which operation failed, so ask the other way.
    const bool retry = repeatable_ && way + 1 < calls_.size() && error.code() != TF_CANCELLED && !is_forked();
    if (!retry) throw;
    calls_[way + 1]->run(arguments_, handles_);
  }
}

/// Calls the function with arguments_ as faster_ chooses, and leaves the results in handles_.
void Function::call() {
  if (calls_.size() == 1 || is_forked()) {
    call(0);
  } else if (faster_.running()) {
    const auto start = std::chrono::steady_clock::now();
    call(faster_.choice());
    for (const TensorHandle& result : handles_) {  // waits for the result
      api_.tensor_handle_device_pointer(result.get(), status_.get());
      status_.check();
    }
    faster_.record(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  } else {
    call(faster_.choice());
    faster_.record(0);
  }
}

void Function::check_count(std::size_t found) const {
  if (found == outputs().size()) return;
  throw std::invalid_argument("The function returns " + std::to_string(found) + " tensors, and " +
                              std::to_string(outputs().size()) + " were expected.");
}

void Function::check_handles() const {
  check_count(handles_.size());
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    const Output& output = outputs()[i];
    const TF_DataType found = api_.tensor_handle_data_type(handles_[i].get());
    if (found == output.dtype) continue;
    throw std::invalid_argument("The " + output.name + " is " + name_of(found) + ", and " + name_of(output.dtype) +
                                " was expected.");
  }
}

/// The address of a result on the host; copies it there if it is on another device. Throws std::invalid_argument if it
/// has the wrong number of elements.
const void* Function::find_result(std::size_t index) {
  const Output& output = outputs()[index];
  TFE_TensorHandle* result = handles_[index].get();
  const std::int64_t size = api_.tensor_handle_num_elements(result, status_.get());
  status_.check();
  if (static_cast<std::size_t>(size) != output.size) {
    throw std::invalid_argument("The " + output.name + " has " + std::to_string(size) + " elements; it must have " +
                                std::to_string(output.size) + ".");
  }
  if (size == 0) return nullptr;  // there may be no memory to read from
  const char* device = api_.tensor_handle_backing_device_name(result, status_.get());
  status_.check();
  if (host_device_ == device) {
    const void* memory = api_.tensor_handle_device_pointer(result, status_.get());
    status_.check();
    return memory;
  }
  TfTensor on_host(api_.tensor_handle_resolve(result, status_.get()), api_.delete_tensor);
  status_.check();
  copies_.push_back(std::move(on_host));
  return api_.tensor_data(copies_.back().get());
}

void Function::cancel() {
  for (const auto& call : calls_) call->cancel();
}

void Function::begin_batch(const std::vector<BatchedInput>& inputs) {
  CompiledFunction::begin_batch(inputs);
  std::vector<Batched> batch;
  batch.reserve(inputs.size());
  for (const BatchedInput& input : inputs) batch.push_back({input, replaceable(input.position)});
  batch_ = std::move(batch);
}

/// Passes a fresh tensor, see prepare_arguments(). It is a copy, since rows of an array are seldom aligned.
void Function::pass_copy(const BatchedInput& input, const void* value) {
  TensorHandle handle = copy_memory(api_, value, input.bytes, input.shape, input.dtype, status_);
  replace(input.position, {std::shared_ptr<TFE_TensorHandle>(std::move(handle)), input.dtype, 0});
}

void Function::select(std::size_t problem) {
  for (const auto& [input, usual] : batch_) pass_copy(input, input.value(problem));
}

void Function::pass_rows(const BatchedInput& rows) { pass_copy(rows, rows.data); }

void Function::end_batch() {
  for (auto& [input, usual] : batch_) replace(input.position, std::move(usual));
  batch_.clear();
}

double Function::repeat(Span<const double> x, std::int64_t count) {
  OpCall& op = *calls_[winner()];
  const auto start = std::chrono::steady_clock::now();
  try {
    for (std::int64_t i = 0; i < count; ++i) {
      release();
      prepare_arguments(x);
      op.run(arguments_, handles_);
      api_.tensor_handle_device_pointer(handles_[0].get(), status_.get());  // waits for the result
      status_.check();
    }
  } catch (TensorFlowError& error) {
    error.set_origin(origin_);
    release();
    throw;
  }
  release();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / static_cast<double>(count);
}

const void* Function::input_address(Span<const double> x, std::size_t position) {
  const std::size_t* index = position < inputs().size() ? component_at(position) : nullptr;
  if (index == nullptr) throw std::invalid_argument("Input " + std::to_string(position) + " is not a component.");
  const TensorHandle handle = component(*index, x);
  const void* address = api_.tensor_handle_device_pointer(handle.get(), status_.get());
  status_.check();
  return address;
}

}  // namespace tfminimize::tfe
