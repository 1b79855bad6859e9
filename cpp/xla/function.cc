#include "xla/function.h"

#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace tfminimize::xla {

Function::Function(std::shared_ptr<XlaProgram> program, Components& components, std::vector<Input> inputs,
                   std::vector<Output> outputs, bool use_thread_pool)
    : CompiledFunction(components, std::move(inputs), std::move(outputs)), program_(std::move(program)) {
  if (!program_) throw std::invalid_argument("There is no program.");
  if (this->inputs().size() != program_->parameters().size()) {
    throw std::invalid_argument("The program takes " + std::to_string(program_->parameters().size()) +
                                " arguments, and " + std::to_string(this->inputs().size()) + " were given.");
  }
  check_outputs();
  check_inputs();
  call_ = program_->call(use_thread_pool);
  for (std::size_t i = 0; i < this->inputs().size(); ++i) pass(i);
  for (std::size_t i = 0; i < this->outputs().size(); ++i) {
    own_.emplace_back();
    set_target(i, nullptr);
  }
}

void Function::check_inputs() const {
  const std::vector<XlaArray>& parameters = program_->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::size_t* index = component_at(i);
    const std::size_t bytes = index != nullptr
                                  ? Output{"", components().dtype(*index), components().size(*index)}.bytes()
                                  : std::get<InputTensor>(inputs()[i]).bytes;
    if (bytes == parameters[i].bytes) continue;
    throw std::invalid_argument("Input " + std::to_string(i) + " has " + std::to_string(bytes) +
                                " bytes, and the program takes " + std::to_string(parameters[i].bytes) + ".");
  }
}

void Function::check_outputs() const {
  const std::vector<XlaArray>& results = program_->results();
  if (results.size() != outputs().size()) {
    throw std::invalid_argument("The program has " + std::to_string(results.size()) + " results, and " +
                                std::to_string(outputs().size()) + " were expected.");
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Output& output = outputs()[i];
    if (output.is_array) continue;
    if (results[i].dtype != name_of(output.dtype)) {
      throw std::invalid_argument("The " + output.name + " is " + results[i].dtype + ", and " + name_of(output.dtype) +
                                  " was expected.");
    }
    if (results[i].bytes != output.bytes()) {
      throw std::invalid_argument("The " + output.name + " has " + std::to_string(results[i].bytes) +
                                  " bytes; it must have " + std::to_string(output.bytes()) + ".");
    }
  }
}

/// Passes the input at `position` to the call, if it is a tensor.
void Function::pass(std::size_t position) {
  const auto* tensor = std::get_if<InputTensor>(&inputs()[position]);
  if (tensor != nullptr) call_->set_argument(position, tensor->value.get());
}

void Function::set_x(Span<const double> x) {
  for (std::size_t i = 0; i < inputs().size(); ++i) {
    const std::size_t* index = component_at(i);
    if (index != nullptr) call_->set_argument(i, components().address(*index, x));
  }
  x_ = x.data();
}

void Function::set_target(std::size_t index, double* target) {
  const Output& output = outputs()[index];
  void* memory = target;
  if (output.is_array || target == nullptr || output.dtype != TF_DOUBLE || !solvers::is_aligned(target)) {
    if (own_[index].size() == 0) own_[index] = Bytes::zeros(program_->results()[index].bytes);
    memory = own_[index].data();
  }
  call_->set_result(index, memory);
  results_[index] = memory;
  targets_[index] = target;
}

std::vector<HostArray> Function::arrays() {
  std::vector<HostArray> result;
  for (std::size_t i = 0; i < outputs().size(); ++i) {
    const Output& output = outputs()[i];
    if (output.is_array) result.push_back({results_[i], program_->results()[i].bytes, output.shape});
  }
  return result;
}

/// Uses `call` from now on, with the same memory.
void Function::use(std::unique_ptr<XlaCall> call) {
  call_ = std::move(call);
  for (std::size_t i = 0; i < inputs().size(); ++i) pass(i);
  // set_target() was given pointers that are not const; results_ only adds it.
  for (std::size_t i = 0; i < results_.size(); ++i) call_->set_result(i, const_cast<void*>(results_[i]));
  x_ = nullptr;
}

void Function::begin_batch(const std::vector<BatchedInput>& inputs) {
  CompiledFunction::begin_batch(inputs);
  std::vector<Batched> batch;
  batch.reserve(inputs.size());
  for (const BatchedInput& input : inputs) batch.push_back({input, Bytes(input.bytes)});
  std::unique_ptr<XlaCall> call = program_->call(false);
  usual_call_ = std::move(call_);
  use(std::move(call));
  batch_ = std::move(batch);
}

void Function::select(std::size_t problem) {
  for (const auto& [input, copy] : batch_) {
    const void* value = input.value(problem);
    if (!solvers::is_aligned(value)) value = std::memcpy(copy.data(), value, input.bytes);
    call_->set_argument(input.position, value);
  }
}

void Function::end_batch() {
  batch_.clear();
  use(std::move(usual_call_));
}

}  // namespace tfminimize::xla
