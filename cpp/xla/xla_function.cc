#include "xla/xla_function.h"

#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace tfminimize {
namespace {

std::size_t bytes_of(const Output& output) {
  return output.size * (output.dtype == TF_FLOAT ? sizeof(float) : sizeof(double));
}

HostTensor aligned_copy(const void* data, TF_DataType dtype, std::size_t bytes) {
  const auto buffer = std::make_shared<AlignedBuffer<unsigned char>>(bytes);
  if (bytes > 0) std::memcpy(buffer->data(), data, bytes);
  return {std::shared_ptr<const void>(buffer, buffer->data()), dtype, bytes};
}

}  // namespace

HostTensor host_tensor(const TfeApi& api, TFE_Context* context, TensorHandle tensor) {
  const TfStatus status(api);
  const char* device = api.tensor_handle_backing_device_name(tensor.get(), status.get());
  status.check();
  const TF_DataType dtype = api.tensor_handle_data_type(tensor.get());
  if (host_device_name(api, context) == device) {
    const std::size_t bytes = api.tensor_handle_device_memory_size(tensor.get(), status.get());
    status.check();
    const void* data = api.tensor_handle_device_pointer(tensor.get(), status.get());
    status.check();
    if (!is_aligned(data)) return aligned_copy(data, dtype, bytes);
    const std::shared_ptr<TFE_TensorHandle> owner = std::move(tensor);
    return {std::shared_ptr<const void>(owner, data), dtype, bytes};
  }
  const TfTensor on_host(api.tensor_handle_resolve(tensor.get(), status.get()), api.delete_tensor);
  status.check();
  return aligned_copy(api.tensor_data(on_host.get()), dtype, api.tensor_byte_size(on_host.get()));
}

XlaFunction::XlaFunction(Components& components, XlaOptions options, std::vector<Output> outputs)
    : components_(components),
      program_(std::move(options.program)),
      inputs_(std::move(options.inputs)),
      outputs_(std::move(outputs)) {
  if (!program_) throw std::invalid_argument("There is no program.");
  if (inputs_.size() != program_->parameters().size()) {
    throw std::invalid_argument("The program takes " + std::to_string(program_->parameters().size()) +
                                " arguments, and " + std::to_string(inputs_.size()) + " were given.");
  }
  check_outputs();
  call_ = program_->call(true);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    std::size_t bytes = 0;
    if (const auto* index = std::get_if<std::size_t>(&inputs_[i])) {
      components_.prepare(*index);
      bytes = components_.size(*index) * (components_.dtype(*index) == TF_FLOAT ? sizeof(float) : sizeof(double));
    } else {
      const auto& tensor = std::get<HostTensor>(inputs_[i]);
      bytes = tensor.bytes;
      call_->set_argument(i, tensor.memory.get());
    }
    if (bytes != program_->parameters()[i].bytes) {
      throw std::invalid_argument("Input " + std::to_string(i) + " has " + std::to_string(bytes) +
                                  " bytes, and the program takes " + std::to_string(program_->parameters()[i].bytes) +
                                  ".");
    }
  }
  results_.resize(outputs_.size());
  targets_.resize(outputs_.size());
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    own_.emplace_back(0);
    set_target(i, nullptr);
  }
}

void XlaFunction::check_outputs() const {
  const std::vector<XlaArray>& results = program_->results();
  if (results.size() != outputs_.size()) {
    throw std::invalid_argument("The program has " + std::to_string(results.size()) + " results, and " +
                                std::to_string(outputs_.size()) + " were expected.");
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Output& output = outputs_[i];
    if (results[i].dtype != name_of(output.dtype)) {
      throw std::invalid_argument("The " + output.name + " is " + results[i].dtype + ", and " + name_of(output.dtype) +
                                  " was expected.");
    }
    if (results[i].bytes != bytes_of(output)) {
      throw std::invalid_argument("The " + output.name + " has " + std::to_string(results[i].bytes) +
                                  " bytes; it must have " + std::to_string(bytes_of(output)) + ".");
    }
  }
}

void XlaFunction::set_x(Span<const double> x) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const auto* index = std::get_if<std::size_t>(&inputs_[i]);
    if (index != nullptr) call_->set_argument(i, components_.address(*index, x));
  }
  x_ = x.data();
}

void XlaFunction::set_target(std::size_t index, double* target) {
  if (target != nullptr && outputs_[index].dtype == TF_DOUBLE && is_aligned(target)) {
    set_result(index, target);
  } else {
    if (own_[index].size() == 0) own_[index] = AlignedBuffer<unsigned char>(bytes_of(outputs_[index]));
    set_result(index, own_[index].data());
  }
  targets_[index] = target;
}

void XlaFunction::set_result(std::size_t index, void* memory) {
  call_->set_result(index, memory);
  results_[index] = memory;
}

/// The tensor that is passed as it is at a position.
const HostTensor& XlaFunction::replaceable(std::size_t position) const {
  const auto* current = position < inputs_.size() ? std::get_if<HostTensor>(&inputs_[position]) : nullptr;
  if (current == nullptr) {
    throw std::invalid_argument("Input " + std::to_string(position) + " is not a tensor that can be replaced.");
  }
  return *current;
}

void XlaFunction::check_input(std::size_t position, const HostTensor& tensor) const {
  const HostTensor& current = replaceable(position);
  if (current.dtype != tensor.dtype || current.bytes != tensor.bytes) {
    throw std::invalid_argument("The tensor for input " + std::to_string(position) +
                                " has another dtype or size than the one that it replaces.");
  }
}

void XlaFunction::set_input(std::size_t position, HostTensor tensor) {
  check_input(position, tensor);
  call_->set_argument(position, tensor.memory.get());
  inputs_[position] = std::move(tensor);
}

/// Calls through `call` from now on, on the same memory.
void XlaFunction::use(std::unique_ptr<XlaCall> call) {
  call_ = std::move(call);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (const auto* tensor = std::get_if<HostTensor>(&inputs_[i])) call_->set_argument(i, tensor->memory.get());
  }
  for (std::size_t i = 0; i < results_.size(); ++i) call_->set_result(i, results_[i]);
  x_ = nullptr;
}

void XlaFunction::begin_batch(const std::vector<BatchedInput>& inputs) {
  std::vector<Batched> batch;
  for (const BatchedInput& input : inputs) {
    const HostTensor& usual = replaceable(input.position);
    if (usual.dtype != input.dtype || usual.bytes != input.bytes) {
      throw std::invalid_argument("The array for input " + std::to_string(input.position) +
                                  " has another dtype or size than the tensor that it replaces.");
    }
    batch.push_back({input, AlignedBuffer<unsigned char>(input.bytes)});
  }
  std::unique_ptr<XlaCall> call = program_->call(false);
  usual_call_ = std::move(call_);
  use(std::move(call));
  batch_ = std::move(batch);
}

void XlaFunction::select(std::size_t problem) {
  for (const auto& [input, copy] : batch_) {
    const void* value = input.value(problem);
    if (!is_aligned(value)) value = std::memcpy(copy.data(), value, input.bytes);
    call_->set_argument(input.position, value);
  }
}

void XlaFunction::end_batch() {
  batch_.clear();
  use(std::move(usual_call_));
}

const void* XlaFunction::input_address(Span<const double> x, std::size_t position) const {
  if (position >= inputs_.size()) {
    throw std::invalid_argument("There is no input " + std::to_string(position) + ".");
  }
  if (const auto* index = std::get_if<std::size_t>(&inputs_[position])) return components_.address(*index, x);
  return std::get<HostTensor>(inputs_[position]).memory.get();
}

}  // namespace tfminimize
