#ifndef TFMINIMIZE_OBJECTIVES_FUNCTION_CALL_H_
#define TFMINIMIZE_OBJECTIVES_FUNCTION_CALL_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "objectives/tfe_api.h"
#include "solvers/span.h"

namespace tfminimize {

/// How TensorFlow is asked to call a function.
enum class Dispatch {
  kFunction,         ///< By its name, as Python does.
  kPartitionedCall,  ///< As the attribute of a StatefulPartitionedCall, which runs it in the calling thread.
};

/// Which function, and how.
struct CallOptions {
  std::string function;
  Dispatch dispatch = Dispatch::kFunction;
  std::string config_proto;   ///< A serialized ConfigProto, for the graph optimisation; empty for none.
  std::string executor_type;  ///< Empty for the default executor.
  std::string device;         ///< Empty where TensorFlow chooses.
};

/// The dtypes of a function's inputs and outputs.
struct Signature {
  std::vector<TF_DataType> inputs;
  std::vector<TF_DataType> outputs;
};

/// A function of TensorFlow, ready to be called again and again on other tensors.
class FunctionCall {
 public:
  /// `api` must outlive the object. Throws TensorFlowError for a function that TensorFlow does not know.
  FunctionCall(const TfeApi& api, TFE_Context* context, CallOptions options, const Signature& signature);

  /// Runs the function and appends what it returns to `results`. Throws TensorFlowError, also for cancel().
  void run(const std::vector<TFE_TensorHandle*>& arguments, std::vector<TensorHandle>& results);

  /// Asks the run() that another thread is in to end early, with TensorFlow's CancelledError. Loops end before their
  /// next step; TensorFlow has no way to end the rest. Without effect on later runs.
  void cancel();

  Dispatch dispatch() const { return options_.dispatch; }

 private:
  const char* op_name() const;
  void set_attributes(const Signature& signature);
  void renew_cancellation();
  void renew_op();

  const TfeApi& api_;
  TFE_Context* context_;
  CallOptions options_;
  TfStatus status_;
  std::mutex cancellation_mutex_;  ///< Guards the pointer, which cancel() reads in another thread.
  std::shared_ptr<TFE_CancellationManager> cancellation_;
  std::atomic<bool> cancelled_{false};
  TfeOp attributes_;      ///< An op that is never run: the attributes that op_ takes over.
  TfeOp op_;              ///< The op that is run.
  bool settled_ = false;  ///< Whether TensorFlow has its kernel, so that op_ stays as it is.
  std::vector<TFE_TensorHandle*> outputs_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_FUNCTION_CALL_H_
