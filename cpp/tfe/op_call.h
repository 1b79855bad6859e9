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

/// What to run: an operation of TensorFlow or the name of a function. TensorFlow treats both alike.
struct OpDescription {
  std::string name;
  std::string device;  ///< Empty to let TensorFlow choose.
  std::function<void(const TfeApi&, TFE_Op*)> set_attributes;
  std::size_t num_outputs = 0;
  bool takes_list = false;  ///< Whether the operation takes all inputs as one list.
};

/// An operation of TensorFlow that can be run many times, with other tensors and in any thread.
///
/// An op of TensorFlow keeps a pointer to the executor of the thread that makes it. That executor may be gone at the
/// next run, since tf.py_function has one for each call. So the op gets an executor that lives as long as the op.
class OpCall {
 public:
  /// `api` must outlive the object. Throws TensorFlowError for an operation that TensorFlow does not know.
  OpCall(const TfeApi& api, TFE_Context* context, OpDescription description);

  /// Runs the operation and appends its results to `results`. Throws TensorFlowError, also after cancel().
  void run(const std::vector<TFE_TensorHandle*>& arguments, std::vector<TensorHandle>& results);

  /// Asks a run() in another thread to end early, with TensorFlow's CancelledError. Loops end before their next step;
  /// TensorFlow cannot end anything else early. Has no effect on later runs.
  void cancel();

 private:
  void renew_cancellation();
  void renew_op();
  void add_inputs(const std::vector<TFE_TensorHandle*>& arguments);

  const TfeApi& api_;
  TFE_Context* context_;
  OpDescription description_;
  TfStatus status_;
  std::mutex cancellation_mutex_;  ///< Guards the pointer below, which cancel() reads in another thread.
  std::shared_ptr<TFE_CancellationManager> cancellation_;
  std::atomic<bool> cancelled_{false};
  TfeExecutor executor_;  ///< Of op_; it runs the op in the calling thread at once.
  TfeOp attributes_;      ///< An op that never runs; op_ copies its attributes.
  TfeOp op_;              ///< The op that is run.
  bool settled_ = false;  ///< Whether op_ has run, and TensorFlow has its kernel.
  std::vector<TFE_TensorHandle*> outputs_;
};

}  // namespace tfminimize::tfe

#endif  // TFMINIMIZE_TFE_OP_CALL_H_
