#ifndef TFMINIMIZE_TFE_FUNCTION_CALL_H_
#define TFMINIMIZE_TFE_FUNCTION_CALL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "objectives/batched_input.h"
#include "objectives/components.h"
#include "objectives/outputs.h"
#include "objectives/trial.h"
#include "solvers/span.h"
#include "tfe/op_call.h"
#include "tfe/tfe_api.h"

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

/// A function of TensorFlow and what it is called with.
struct FunctionOptions {
  /// A tensor that is passed as it is, or the index of the component whose memory is passed.
  using Input = std::variant<TensorHandle, std::size_t>;

  std::vector<CallOptions> calls;  ///< One way to call it, or two that are tried for which is faster.
  std::vector<Input> inputs;       ///< In the order of its signature.
  bool repeatable = false;    ///< It has no side effects; what fails in the first way is called again in the second.
  bool keeps_inputs = false;  ///< It may keep what it is called with, so that it gets copies of x.
};

/// A function of TensorFlow, called through the eager C API on the memory of x itself.
///
/// One object is called in one thread at a time, which its user sees to; several objects may be at once.
class FunctionCall {
 public:
  using Input = FunctionOptions::Input;

  /// What one call at x returns, as long as it lives. One at a time.
  class Results;

  /// `api` and `components` must outlive the object. Throws std::invalid_argument for inputs that cannot be passed, and
  /// TensorFlowError for a function that TensorFlow does not know.
  FunctionCall(const TfeApi& api, TFE_Context* context, Components& components, FunctionOptions options,
               std::vector<Output> outputs);

  /// See Evaluator.
  void cancel();

  /// Replaces a tensor that is passed as it is by another of the same dtype.
  void set_input(std::size_t position, TensorHandle tensor);

  /// Throws std::invalid_argument if set_input() would.
  void check_input(std::size_t position, const TensorHandle& tensor) const;

  /// See Evaluator.
  void begin_batch(const std::vector<BatchedInput>& inputs);
  void select(std::size_t problem);
  void end_batch();

  /// How the function is called: the faster way, as far as it is known.
  Dispatch dispatch() const { return dispatches_[calls_.size() > 1 ? trial_.winner() : 0]; }

  /// Seconds of one call, the mean of `count` in a bare loop of the same calls of TensorFlow, which reads nothing.
  double repeat(Span<const double> x, std::int64_t count);

  /// What keeps the memory of x alive as long as TensorFlow holds a tensor made of it.
  void set_owner(std::shared_ptr<const void> owner) { owner_ = std::move(owner); }

  /// The address that TensorFlow reads for the input at `position`, which must be a component.
  const void* input_address(Span<const double> x, std::size_t position);

 private:
  /// Lets go of the tensors of one call, however it ends.
  class Cleanup;

  /// An input of the batch, and the tensor that is passed otherwise.
  struct Batched {
    BatchedInput input;
    TensorHandle usual;
  };

  OpDescription describe(const CallOptions& options) const;
  const TensorHandle& replaceable(std::size_t position) const;
  TensorHandle tensor(std::size_t component, Span<const double> x) const;
  void prepare_arguments(Span<const double> x);
  void run();
  void call(std::size_t way);
  void check_results() const;
  [[noreturn]] void fail_size(std::size_t index, std::int64_t size) const;

  const TfeApi& api_;
  TFE_Context* context_;
  Components& components_;
  std::vector<Input> inputs_;
  std::vector<Batched> batch_;
  std::vector<Output> outputs_;
  bool repeatable_;
  bool keeps_inputs_;
  std::string host_device_;

  TfStatus status_;
  std::vector<std::unique_ptr<OpCall>> calls_;
  std::vector<Dispatch> dispatches_;
  Trial trial_;
  std::vector<TensorHandle> fresh_;
  std::vector<TFE_TensorHandle*> arguments_;
  std::vector<TensorHandle> results_;
  std::shared_ptr<const void> owner_;
  bool checked_ = false;
};

class FunctionCall::Cleanup {
 public:
  explicit Cleanup(FunctionCall& function) : function_(function) {}
  ~Cleanup() {
    function_.results_.clear();
    function_.fresh_.clear();
  }
  Cleanup(const Cleanup&) = delete;
  Cleanup& operator=(const Cleanup&) = delete;

 private:
  FunctionCall& function_;
};

class FunctionCall::Results {
 public:
  /// Calls the function. The components of x must be staged. Throws TensorFlowError with the error of the function.
  Results(FunctionCall& function, Span<const double> x);

  /// Calls read(elements) with the memory of a result on the host, a const float* or const double*, of as many elements
  /// as the output has. Throws std::invalid_argument if it has others.
  template <typename Read>
  void read(std::size_t index, const Read& read) const;

  /// The result of a scalar output.
  double scalar(std::size_t index) const;

  /// Writes a result, as doubles.
  void copy(std::size_t index, double* target) const;

 private:
  FunctionCall& function_;
  Cleanup cleanup_;
};

template <typename Read>
void FunctionCall::Results::read(std::size_t index, const Read& read) const {
  const TfeApi& api = function_.api_;
  const TfStatus& status = function_.status_;
  const Output& output = function_.outputs_[index];
  TFE_TensorHandle* result = function_.results_[index].get();
  const std::int64_t size = api.tensor_handle_num_elements(result, status.get());
  status.check();
  if (static_cast<std::size_t>(size) != output.size) function_.fail_size(index, size);
  if (size == 0) return;  // there may be no memory to read from
  const auto read_at = [&](const void* memory) {
    if (output.dtype == TF_FLOAT) {
      read(static_cast<const float*>(memory));
    } else {
      read(static_cast<const double*>(memory));
    }
  };
  const char* device = api.tensor_handle_backing_device_name(result, status.get());
  status.check();
  if (function_.host_device_ == device) {
    const void* memory = api.tensor_handle_device_pointer(result, status.get());
    status.check();
    read_at(memory);
  } else {
    const TfTensor on_host(api.tensor_handle_resolve(result, status.get()), api.delete_tensor);
    status.check();
    read_at(api.tensor_data(on_host.get()));
  }
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_TFE_FUNCTION_CALL_H_
