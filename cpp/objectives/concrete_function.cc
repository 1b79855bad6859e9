#include "objectives/concrete_function.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace tfminimize {
namespace {

constexpr std::size_t kDoublesAlignment = kAlignment / sizeof(double);

const char* name_of(TF_DataType dtype) {
  switch (dtype) {
    case TF_DOUBLE:
      return "float64";
    case TF_FLOAT:
      return "float32";
    default:
      return "neither float64 nor float32";
  }
}

}  // namespace

std::size_t element_count(const Component& component) {
  if (component.offset % kDoublesAlignment != 0) {
    throw std::invalid_argument("The offset of a component is " + std::to_string(component.offset) +
                                ", which is not a multiple of " + std::to_string(kDoublesAlignment) + ".");
  }
  if (component.dtype != TF_DOUBLE && component.dtype != TF_FLOAT) {
    throw std::invalid_argument(std::string("The dtype of a component is ") + name_of(component.dtype) + ".");
  }
  // Sizes are bounded so that no sum of an offset and a size, and no number of bytes, can overflow.
  constexpr std::int64_t kLimit = std::int64_t{1} << 48;
  std::int64_t size = 1;
  for (const std::int64_t extent : component.shape) {
    if (extent < 0) throw std::invalid_argument("The shape of a component has a negative extent.");
    if (__builtin_mul_overflow(size, extent, &size) || size > kLimit) {
      throw std::invalid_argument("The shape of a component has more elements than memory can hold.");
    }
  }
  if (component.offset > static_cast<std::size_t>(kLimit)) {
    throw std::invalid_argument("The offset of a component is beyond any memory.");
  }
  return static_cast<std::size_t>(size);
}

class ConcreteFunction::Cleanup {
 public:
  explicit Cleanup(ConcreteFunction& function) : function_(function) {}
  ~Cleanup() {
    function_.outputs_.clear();
    function_.fresh_.clear();
  }
  Cleanup(const Cleanup&) = delete;
  Cleanup& operator=(const Cleanup&) = delete;

 private:
  ConcreteFunction& function_;
};

ConcreteFunction::ConcreteFunction(const TfeApi& api, TFE_Context* context, const std::vector<CallOptions>& calls,
                                   std::vector<Input> inputs, std::vector<Component> components, TF_DataType loss_dtype,
                                   bool repeatable)
    : api_(api),
      context_(context),
      inputs_(std::move(inputs)),
      loss_dtype_(loss_dtype),
      repeatable_(repeatable),
      host_device_(host_device_name(api, context)),
      status_(api) {
  for (Component& component : components) {
    const std::size_t size = element_count(component);
    required_size_ = std::max(required_size_, component.offset + size);
    segments_.push_back({std::move(component), size});
  }
  for (const Input& input : inputs_) {
    const auto* index = std::get_if<std::size_t>(&input);
    if (index == nullptr) continue;
    if (*index >= segments_.size()) {
      throw std::invalid_argument("An input is component " + std::to_string(*index) + ", and there are only " +
                                  std::to_string(segments_.size()) + ".");
    }
    Segment& segment = segments_[*index];
    if (segment.component.dtype == TF_FLOAT && !segment.component.staging) {
      const auto buffer = std::make_shared<AlignedBuffer<float>>(segment.size);
      segment.component.staging = std::shared_ptr<float>(buffer, buffer->data());
    }
  }
  if (calls.empty() || calls.size() > 2) throw std::invalid_argument("There must be one or two ways to call.");
  for (const CallOptions& options : calls) {
    calls_.push_back(std::make_unique<OpCall>(api, context, describe(options)));
    dispatches_.push_back(options.dispatch);
  }
}

OpDescription ConcreteFunction::describe(const CallOptions& options) const {
  std::vector<TF_DataType> inputs;
  for (const Input& input : inputs_) {
    const auto* index = std::get_if<std::size_t>(&input);
    inputs.push_back(index != nullptr ? segments_[*index].component.dtype
                                      : api_.tensor_handle_data_type(std::get<TensorHandle>(input).get()));
  }
  std::vector<TF_DataType> outputs{loss_dtype_};
  for (const Segment& segment : segments_) outputs.push_back(segment.component.dtype);

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

void ConcreteFunction::check_size(std::size_t size) const {
  if (size < required_size_) {
    throw std::invalid_argument("x has " + std::to_string(size) + " elements, and the components end at " +
                                std::to_string(required_size_) + ".");
  }
}

double ConcreteFunction::evaluate(Span<const double> x, Span<double> g) {
  check_size(std::min(x.size(), g.size()));
  const Cleanup cleanup(*this);
  stage(x);
  prepare_arguments(x);
  run();
  if (!checked_) check_outputs();
  checked_ = true;
  const double loss = read_loss();
  for (std::size_t i = 0; i < segments_.size(); ++i) read_gradient(i, g);
  return loss;
}

/// Casts the float32 components into their staging buffers.
void ConcreteFunction::stage(Span<const double> x) const {
  for (const Segment& segment : segments_) {
    float* staging = segment.component.staging.get();
    if (staging == nullptr) continue;
    const double* source = x.data() + segment.component.offset;
    for (std::size_t i = 0; i < segment.size; ++i) staging[i] = static_cast<float>(source[i]);
  }
}

TensorHandle ConcreteFunction::import(const Segment& segment, Span<const double> x) const {
  const Component& component = segment.component;
  if (component.dtype == TF_FLOAT) {
    return import_memory(api_, context_, component.staging.get(), component.shape, TF_FLOAT, component.staging,
                         status_);
  }
  // TensorFlow has no read-only tensors; it never writes to an input that somebody else holds too, and we do.
  auto* data = const_cast<double*>(x.data() + component.offset);
  return import_memory(api_, context_, data, component.shape, TF_DOUBLE, owner_, status_);
}

void ConcreteFunction::prepare_arguments(Span<const double> x) {
  arguments_.clear();
  for (const Input& input : inputs_) {
    if (const auto* index = std::get_if<std::size_t>(&input)) {
      // A fresh handle for every evaluation: TensorFlow believes that a tensor never changes, and a handle may keep a
      // copy of it on another device.
      fresh_.push_back(import(segments_[*index], x));
      arguments_.push_back(fresh_.back().get());
    } else {
      arguments_.push_back(std::get<TensorHandle>(input).get());
    }
  }
}

void ConcreteFunction::call(std::size_t way) {
  try {
    calls_[way]->run(arguments_, outputs_);
  } catch (const TensorFlowError& error) {
    // A partitioned call does not report which operation has failed.
    const bool retry = repeatable_ && way + 1 < calls_.size() && error.code() != TF_CANCELLED;
    if (!retry) throw;
    calls_[way + 1]->run(arguments_, outputs_);
  }
}

/// Calls the function on arguments_, in the way whose turn it is, and leaves its results in outputs_.
void ConcreteFunction::run() {
  if (calls_.size() == 1) {
    call(0);
  } else if (trial_.running()) {
    const auto start = std::chrono::steady_clock::now();
    call(trial_.choice());
    for (const TensorHandle& output : outputs_) {  // waits for the results
      api_.tensor_handle_device_pointer(output.get(), status_.get());
      status_.check();
    }
    trial_.record(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  } else {
    call(trial_.choice());
    trial_.record(0);
  }
}

void ConcreteFunction::cancel() {
  for (const auto& call : calls_) call->cancel();
}

void ConcreteFunction::check_outputs() const {
  if (outputs_.size() != 1 + segments_.size()) {
    throw std::invalid_argument("The function returned " + std::to_string(outputs_.size()) +
                                " tensors, and a loss and the gradients of " + std::to_string(segments_.size()) +
                                " components were expected.");
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const TF_DataType expected = i == 0 ? loss_dtype_ : segments_[i - 1].component.dtype;
    const TF_DataType found = api_.tensor_handle_data_type(outputs_[i].get());
    if (found == expected) continue;
    const std::string what = i == 0 ? "loss" : "gradient of component " + std::to_string(i - 1);
    throw std::invalid_argument("The " + what + " is " + name_of(found) + ", and " + name_of(expected) +
                                " was expected.");
  }
}

/// Calls read(memory, number of elements) with an output in the host's memory.
template <typename Read>
void ConcreteFunction::read_output(std::size_t index, Read read) {
  TFE_TensorHandle* output = outputs_[index].get();
  const std::int64_t size = api_.tensor_handle_num_elements(output, status_.get());
  status_.check();
  const char* device = api_.tensor_handle_backing_device_name(output, status_.get());
  status_.check();
  if (host_device_ == device) {
    const void* memory = api_.tensor_handle_device_pointer(output, status_.get());
    status_.check();
    read(memory, static_cast<std::size_t>(size));
  } else {
    const TfTensor on_host(api_.tensor_handle_resolve(output, status_.get()), api_.delete_tensor);
    status_.check();
    read(api_.tensor_data(on_host.get()), static_cast<std::size_t>(size));
  }
}

double ConcreteFunction::read_loss() {
  double loss = 0;
  read_output(0, [&](const void* memory, std::size_t size) {
    if (size != 1) {
      throw std::invalid_argument("The loss has " + std::to_string(size) + " elements; it must be a scalar.");
    }
    loss = loss_dtype_ == TF_FLOAT ? static_cast<double>(*static_cast<const float*>(memory))
                                   : *static_cast<const double*>(memory);
  });
  return loss;
}

void ConcreteFunction::read_gradient(std::size_t index, Span<double> g) {
  const Segment& segment = segments_[index];
  double* target = g.data() + segment.component.offset;
  read_output(index + 1, [&](const void* memory, std::size_t size) {
    if (size != segment.size) {
      throw std::invalid_argument("The gradient of component " + std::to_string(index) + " has " +
                                  std::to_string(size) + " elements, and the component has " +
                                  std::to_string(segment.size) + ".");
    }
    if (size == 0) return;  // there may be no memory to copy from
    if (segment.component.dtype == TF_FLOAT) {
      const auto* source = static_cast<const float*>(memory);
      for (std::size_t i = 0; i < size; ++i) target[i] = static_cast<double>(source[i]);
    } else {
      std::memcpy(target, memory, size * sizeof(double));
    }
  });
}

void ConcreteFunction::set_input(std::size_t position, TensorHandle tensor) {
  auto* current = position < inputs_.size() ? std::get_if<TensorHandle>(&inputs_[position]) : nullptr;
  if (current == nullptr) {
    throw std::invalid_argument("Input " + std::to_string(position) + " is not a tensor that can be replaced.");
  }
  if (api_.tensor_handle_data_type(current->get()) != api_.tensor_handle_data_type(tensor.get())) {
    throw std::invalid_argument("The tensor for input " + std::to_string(position) +
                                " has another dtype than the one that it replaces.");
  }
  *current = std::move(tensor);
}

void ConcreteFunction::set_owner(std::shared_ptr<const void> owner) { owner_ = std::move(owner); }

double ConcreteFunction::repeat(Span<const double> x, std::int64_t count) {
  check_size(x.size());
  const Cleanup cleanup(*this);
  OpCall& call = *calls_[calls_.size() > 1 ? trial_.winner() : 0];
  stage(x);
  prepare_arguments(x);
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < count; ++i) {
    fresh_.clear();
    outputs_.clear();
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      const auto* index = std::get_if<std::size_t>(&inputs_[k]);
      if (index == nullptr) continue;
      fresh_.push_back(import(segments_[*index], x));
      arguments_[k] = fresh_.back().get();
    }
    call.run(arguments_, outputs_);
    api_.tensor_handle_device_pointer(outputs_[0].get(), status_.get());  // waits for the result
    status_.check();
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / static_cast<double>(count);
}

const void* ConcreteFunction::input_address(Span<const double> x, std::size_t position) {
  check_size(x.size());
  const auto* index = position < inputs_.size() ? std::get_if<std::size_t>(&inputs_[position]) : nullptr;
  if (index == nullptr) throw std::invalid_argument("Input " + std::to_string(position) + " is not a component.");
  const TensorHandle handle = import(segments_[*index], x);
  const void* address = api_.tensor_handle_device_pointer(handle.get(), status_.get());
  status_.check();
  return address;
}

}  // namespace tfminimize
