#ifndef TFMINIMIZE_TFE_OP_CALL_H_
#define TFMINIMIZE_TFE_OP_CALL_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tfe/tfe_api.h"

namespace tfminimize::tfe {

/// What to run: an operation of TensorFlow, or a function by its name, which TensorFlow treats alike.
struct OpDescription {
  std::string name;
  std::string device;  ///< Empty where TensorFlow chooses.
  std::function<void(const TfeApi&, TFE_Op*)> set_attributes;
  std::size_t num_outputs = 0;
  bool takes_list = false;  ///< Whether all inputs are one list for the operation.
};

/// An operation of TensorFlow, ready to be run again and again on other tensors, in any thread.
///
/// An op of TensorFlow keeps a pointer to the executor of the thread that makes it, which may be gone at the next run:
/// tf.py_function has one for each call. So the op is given an executor that lives as long.
class OpCall {
 public:
  /// `api` must outlive the object. Throws TensorFlowError for an operation that TensorFlow does not know.
  OpCall(const TfeApi& api, TFE_Context* context, OpDescription description);

  /// Runs it and appends what it returns to `results`. Throws TensorFlowError, also after cancel().
  void run(const std::vector<TFE_TensorHandle*>& arguments, std::vector<TensorHandle>& results);

  /// Asks the run() that another thread is in to end early, with TensorFlow's CancelledError. Loops end before their
  /// next step; TensorFlow has no way to end the rest. Without effect on later runs.
  void cancel();

 private:
  void renew_cancellation();
  void renew_op();
  void add_inputs(const std::vector<TFE_TensorHandle*>& arguments);

  const TfeApi& api_;
  TFE_Context* context_;
  OpDescription description_;
  TfStatus status_;
  std::mutex cancellation_mutex_;  ///< Guards the pointer, which cancel() reads in another thread.
  std::shared_ptr<TFE_CancellationManager> cancellation_;
  std::atomic<bool> cancelled_{false};
  TfeExecutor executor_;  ///< Of op_, which runs at once in the thread that calls.
  TfeOp attributes_;      ///< An op that is never run: the attributes that op_ takes over.
  TfeOp op_;              ///< The op that is run.
  bool settled_ = false;  ///< Whether TensorFlow has its kernel, so that op_ stays as it is.
  std::vector<TFE_TensorHandle*> outputs_;
};

}  // namespace tfminimize::tfe

#endif  // TFMINIMIZE_TFE_OP_CALL_H_
