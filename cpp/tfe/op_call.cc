#include "tfe/op_call.h"

#include <utility>

namespace tfminimize::tfe {
namespace {

/// Gives the calling thread this executor, for one scope.
class ExecutorScope {
 public:
  ExecutorScope(const TfeApi& api, TFE_Context* context, TFE_Executor* executor)
      : api_(api), context_(context), before_(api.context_get_executor_for_thread(context), api.delete_executor) {
    api_.context_set_executor_for_thread(context_, executor);
  }
  ~ExecutorScope() { api_.context_set_executor_for_thread(context_, before_.get()); }
  ExecutorScope(const ExecutorScope&) = delete;
  ExecutorScope& operator=(const ExecutorScope&) = delete;

 private:
  const TfeApi& api_;
  TFE_Context* context_;
  TfeExecutor before_;
};

}  // namespace

OpCall::OpCall(const TfeApi& api, TFE_Context* context, OpDescription description)
    : api_(api),
      context_(context),
      description_(std::move(description)),
      status_(api),
      executor_(api.new_executor(false, true, 0), api.delete_executor),
      attributes_(nullptr, api.delete_op),
      op_(nullptr, api.delete_op),
      outputs_(description_.num_outputs) {
  attributes_.reset(api_.new_op(context_, description_.name.c_str(), status_.get()));
  status_.check();
  description_.set_attributes(api_, attributes_.get());
  renew_cancellation();
}

/// Makes a new manager after each cancellation, since a cancelled one stays cancelled.
void OpCall::renew_cancellation() {
  std::shared_ptr<TFE_CancellationManager> fresh(api_.new_cancellation_manager(), api_.delete_cancellation_manager);
  op_.reset();
  const std::lock_guard<std::mutex> lock(cancellation_mutex_);
  cancellation_ = std::move(fresh);
  cancelled_ = false;
}

/// Makes op_ ready for a run, without inputs.
void OpCall::renew_op() {
  const ExecutorScope scope(api_, context_, executor_.get());
  if (op_) {
    api_.op_reset(op_.get(), description_.name.c_str(), description_.device.c_str(), status_.get());
    status_.check();
  } else {
    op_.reset(api_.new_op(context_, description_.name.c_str(), status_.get()));
    status_.check();
    api_.op_set_device(op_.get(), description_.device.c_str(), status_.get());
    status_.check();
  }
  api_.op_add_attrs(op_.get(), api_.op_get_attrs(attributes_.get()));
  api_.op_set_cancellation_manager(op_.get(), cancellation_.get(), status_.get());
  status_.check();
}

void OpCall::add_inputs(const std::vector<TFE_TensorHandle*>& arguments) {
  if (description_.takes_list) {
    auto* const* data = arguments.data();  // the C API has no const, but only reads
    api_.op_add_input_list(op_.get(), const_cast<TFE_TensorHandle**>(data), static_cast<int>(arguments.size()),
                           status_.get());
    status_.check();
    return;
  }
  for (TFE_TensorHandle* argument : arguments) {
    api_.op_add_input(op_.get(), argument, status_.get());
    status_.check();
  }
}

void OpCall::run(const std::vector<TFE_TensorHandle*>& arguments, std::vector<TensorHandle>& results) {
  results.reserve(results.size() + outputs_.size());
  if (cancelled_.load(std::memory_order_relaxed)) renew_cancellation();
  // After a run, an op has dropped its inputs and still has its attributes and what TensorFlow derived from them. Using
  // it again saves a tenth of a small call. The first run is an exception: it leaves the device that TensorFlow chose
  // in the op, so TensorFlow would take it for another op.
  if (!op_ || !settled_ || api_.op_get_flat_input_count(op_.get(), status_.get()) != 0) renew_op();
  int count = static_cast<int>(outputs_.size());
  try {
    add_inputs(arguments);
    api_.execute(op_.get(), outputs_.data(), &count, status_.get());
    status_.check();
  } catch (...) {
    op_.reset();        // it may still hold inputs
    cancelled_ = true;  // when an operation fails, TensorFlow cancels the rest of the function
    throw;
  }
  for (int i = 0; i < count; ++i) {
    results.emplace_back(outputs_[static_cast<std::size_t>(i)], api_.delete_tensor_handle);
  }
  if (!settled_) renew_op();
  settled_ = true;
}

void OpCall::cancel() {
  const std::lock_guard<std::mutex> lock(cancellation_mutex_);
  cancelled_ = true;
  api_.cancellation_manager_start_cancel(cancellation_.get());
}

}  // namespace tfminimize::tfe
