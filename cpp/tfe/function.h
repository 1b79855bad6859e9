#ifndef TFMINIMIZE_TFE_FUNCTION_H_
#define TFMINIMIZE_TFE_FUNCTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "objectives/compiled_function.h"
#include "objectives/components.h"
#include "solvers/span.h"
#include "tfe/faster_way.h"
#include "tfe/op_call.h"
#include "tfe/tfe_api.h"

namespace tfminimize::tfe {

/// How TensorFlow is asked to call a function.
enum class Dispatch {
  kFunction,         ///< By its name, as Python does.
  kPartitionedCall,  ///< As an attribute of StatefulPartitionedCall, which runs it in the calling thread.
};

/// Which function to call, and how.
struct CallOptions {
  std::string function;
  Dispatch dispatch = Dispatch::kFunction;
  std::string config_proto;   ///< A serialized ConfigProto, for the graph optimisation; empty for none.
  std::string executor_type;  ///< Empty for the default executor.
  std::string device;         ///< Empty to let TensorFlow choose.
};

/// A function of TensorFlow and its inputs.
struct FunctionOptions {
  std::vector<CallOptions> calls;               ///< One way to call it, or two, whose faster one is found out.
  std::vector<CompiledFunction::Input> inputs;  ///< In the order of its signature.
  bool repeatable = false;             ///< It has no side effects; if the first way fails, the second is called.
  bool keeps_inputs = false;           ///< It may keep its inputs, so it gets copies of x.
  std::shared_ptr<const void> origin;  ///< Of its errors.
};

/// Makes a handle an input of a function.
InputTensor as_tensor(const TfeApi& api, TensorHandle handle);

/// A function of TensorFlow, called through the eager C API. It reads the memory of x in place.
class Function final : public CompiledFunction {
 public:
  /// `api` and `components` must outlive the object. Throws std::invalid_argument for inputs that cannot be passed, and
  /// TensorFlowError for a function that TensorFlow does not know.
  Function(const TfeApi& api, TFE_Context* context, Components& components, FunctionOptions options,
           std::vector<Output> outputs);

  /// "function" or "partitioned_call", whichever was faster so far.
  const char* way() const override;

  /// The address from which TensorFlow reads the input at `position`, which must be a component.
  const void* input_address(Span<const double> x, std::size_t position) override;

  /// Makes the same calls to TensorFlow as an evaluation, but reads no results.
  double repeat(Span<const double> x, std::int64_t count) override;

  std::vector<HostArray> arrays() override;
  void set_owner(const std::shared_ptr<const void>& owner) override { owner_ = owner; }
  void pass_rows(const BatchedInput& rows) override;
  void cancel() override;
  void begin_batch(const std::vector<BatchedInput>& inputs) override;
  void select(std::size_t problem) override;
  void end_batch() override;

 private:
  /// An input of the batch, and the tensor that is passed outside of a batch.
  struct Batched {
    BatchedInput input;
    InputTensor usual;
  };

  // Throws TensorFlowError with the error of the function.
  void run(Span<const double> x) override;
  void release() override;

  void pass_copy(const BatchedInput& input, const void* value);
  std::size_t winner() const;
  OpDescription describe(const CallOptions& options) const;
  TFE_TensorHandle* handle_at(std::size_t position) const;
  TensorHandle component(std::size_t index, Span<const double> x) const;
  void prepare_arguments(Span<const double> x);
  void call();
  void call(std::size_t way);
  void check_count(std::size_t found) const;
  void check_handles() const;
  const void* find_result(std::size_t index);
  void keep_arrays();

  const TfeApi& api_;
  TFE_Context* context_;
  std::vector<Batched> batch_;
  bool repeatable_;
  bool keeps_inputs_;
  std::shared_ptr<const void> origin_;
  std::string host_device_;

  TfStatus status_;
  std::vector<std::unique_ptr<OpCall>> calls_;
  std::vector<Dispatch> dispatches_;
  FasterWay faster_;
  std::vector<TensorHandle> fresh_;
  std::vector<TFE_TensorHandle*> arguments_;
  std::vector<TensorHandle> handles_;  ///< Of the results.
  std::vector<TfTensor> copies_;       ///< Results that were copied from another device.
  std::vector<TensorHandle> arrays_;   ///< The results that are arrays, until the next run.
  std::vector<TfTensor> on_host_;      ///< The same, once somebody has asked for them.
  std::shared_ptr<const void> owner_;
  bool checked_ = false;
};

}  // namespace tfminimize::tfe

#endif  // TFMINIMIZE_TFE_FUNCTION_H_
