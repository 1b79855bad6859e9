#include "objectives/function_call.h"

#include <utility>

namespace tfminimize {

FunctionCall::FunctionCall(const TfeApi& api, TFE_Context* context, CallOptions options, const Signature& signature)
    : api_(api),
      context_(context),
      options_(std::move(options)),
      status_(api),
      attributes_(nullptr, api.delete_op),
      op_(nullptr, api.delete_op),
      outputs_(signature.outputs.size()) {
  set_attributes(signature);
  renew_cancellation();
}

const char* FunctionCall::op_name() const {
  return options_.dispatch == Dispatch::kFunction ? options_.function.c_str() : "StatefulPartitionedCall";
}

void FunctionCall::set_attributes(const Signature& signature) {
  attributes_.reset(api_.new_op(context_, op_name(), status_.get()));
  status_.check();
  TFE_Op* op = attributes_.get();
  if (options_.dispatch == Dispatch::kPartitionedCall) {
    const auto& [inputs, outputs] = signature;
    api_.op_set_attr_function_name(op, "f", options_.function.data(), options_.function.size());
    api_.op_set_attr_type_list(op, "Tin", inputs.data(), static_cast<int>(inputs.size()));
    api_.op_set_attr_type_list(op, "Tout", outputs.data(), static_cast<int>(outputs.size()));
  }
  // An attribute that is there, even if empty, is not the same as none: it asks for the graph optimisation.
  if (!options_.config_proto.empty()) {
    api_.op_set_attr_string(op, "config_proto", options_.config_proto.data(), options_.config_proto.size());
    api_.op_set_attr_string(op, "executor_type", options_.executor_type.data(), options_.executor_type.size());
  }
}

/// A cancelled manager stays so for ever: each cancellation needs a new one.
void FunctionCall::renew_cancellation() {
  std::shared_ptr<TFE_CancellationManager> fresh(api_.new_cancellation_manager(), api_.delete_cancellation_manager);
  op_.reset();
  const std::lock_guard<std::mutex> lock(cancellation_mutex_);
  cancellation_ = std::move(fresh);
  cancelled_ = false;
}

/// Makes op_ ready for a call, without inputs.
void FunctionCall::renew_op() {
  if (op_) {
    api_.op_reset(op_.get(), op_name(), options_.device.c_str(), status_.get());
    status_.check();
  } else {
    op_.reset(api_.new_op(context_, op_name(), status_.get()));
    status_.check();
    api_.op_set_device(op_.get(), options_.device.c_str(), status_.get());
    status_.check();
  }
  api_.op_add_attrs(op_.get(), api_.op_get_attrs(attributes_.get()));
  api_.op_set_cancellation_manager(op_.get(), cancellation_.get(), status_.get());
  status_.check();
}

void FunctionCall::run(const std::vector<TFE_TensorHandle*>& arguments, std::vector<TensorHandle>& results) {
  if (cancelled_.load(std::memory_order_relaxed)) renew_cancellation();
  // An op that has run lets go of its inputs and keeps its attributes, and TensorFlow what it has derived from them;
  // using it again as it is saves a tenth of a small call. The first run is an exception: it leaves the device that
  // TensorFlow has chosen in the op, which would count as another op.
  if (!op_ || !settled_ || api_.op_get_flat_input_count(op_.get(), status_.get()) != 0) renew_op();
  int count = static_cast<int>(outputs_.size());
  try {
    if (options_.dispatch == Dispatch::kPartitionedCall) {
      // The TensorFlow function takes one list.
      auto* const* data = arguments.data();
      api_.op_add_input_list(op_.get(), const_cast<TFE_TensorHandle**>(data), static_cast<int>(arguments.size()),
                             status_.get());
    } else {
      for (TFE_TensorHandle* argument : arguments) {
        api_.op_add_input(op_.get(), argument, status_.get());
        status_.check();
      }
    }
    status_.check();
    api_.execute(op_.get(), outputs_.data(), &count, status_.get());
    status_.check();
  } catch (...) {
    op_.reset();  // with the inputs that it may still hold
    throw;
  }
  results.reserve(results.size() + static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    results.emplace_back(outputs_[static_cast<std::size_t>(i)], api_.delete_tensor_handle);
  }
  if (!settled_) renew_op();
  settled_ = true;
}

void FunctionCall::cancel() {
  const std::lock_guard<std::mutex> lock(cancellation_mutex_);
  cancelled_ = true;
  api_.cancellation_manager_start_cancel(cancellation_.get());
}

}  // namespace tfminimize
