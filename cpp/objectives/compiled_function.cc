#include "objectives/compiled_function.h"

#include <chrono>
#include <stdexcept>
#include <utility>

namespace tfminimize {

CompiledFunction::CompiledFunction(Components& components, std::vector<Input> inputs, std::vector<Output> outputs)
    : results_(outputs.size()),
      targets_(outputs.size()),
      components_(components),
      inputs_(std::move(inputs)),
      outputs_(std::move(outputs)) {
  for (const Input& input : inputs_) {
    if (const auto* index = std::get_if<std::size_t>(&input)) components_.prepare(*index);
  }
}

const InputTensor& CompiledFunction::replaceable(std::size_t position) const {
  const auto* current = position < inputs_.size() ? std::get_if<InputTensor>(&inputs_[position]) : nullptr;
  if (current == nullptr) {
    throw std::invalid_argument("Input " + std::to_string(position) + " is not a tensor that can be replaced.");
  }
  return *current;
}

void CompiledFunction::check_input(std::size_t position, const InputTensor& tensor) const {
  const InputTensor& current = replaceable(position);
  if (current.dtype != tensor.dtype || current.bytes != tensor.bytes) {
    throw std::invalid_argument("The tensor for input " + std::to_string(position) +
                                " has another dtype or size than the one that it replaces.");
  }
}

void CompiledFunction::set_input(std::size_t position, InputTensor tensor) {
  check_input(position, tensor);
  replace(position, std::move(tensor));
  input_changed(position);
}

void CompiledFunction::begin_batch(const std::vector<BatchedInput>& inputs) {
  for (const BatchedInput& input : inputs) {
    const InputTensor& usual = replaceable(input.position);
    if (usual.dtype != input.dtype || (usual.bytes != 0 && usual.bytes != input.bytes)) {
      throw std::invalid_argument("The array for input " + std::to_string(input.position) +
                                  " has another dtype or size than the tensor that it replaces.");
    }
  }
}

void CompiledFunction::set_rows(std::size_t rows) {
  for (Output& output : outputs_) output.size = output.size / rows_ * rows;
  rows_ = rows;
}

void CompiledFunction::pass_rows(const BatchedInput& rows) {
  throw std::invalid_argument("The function takes no rows of a batch as input " + std::to_string(rows.position) + ".");
}

const void* CompiledFunction::input_address(Span<const double> x, std::size_t position) {
  if (position >= inputs_.size()) {
    throw std::invalid_argument("There is no input " + std::to_string(position) + ".");
  }
  const std::size_t* index = component_at(position);
  return index != nullptr ? components_.address(*index, x) : std::get<InputTensor>(inputs_[position]).value.get();
}

double CompiledFunction::repeat(Span<const double> x, std::int64_t count) {
  for (std::size_t i = 0; i < outputs_.size(); ++i) place(i, nullptr);  // earlier targets may be gone
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < count; ++i) const Call call(*this, x);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / static_cast<double>(count);
}

}  // namespace tfminimize
