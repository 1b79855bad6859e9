#ifndef TFMINIMIZE_OBJECTIVES_CONCRETE_FUNCTION_H_
#define TFMINIMIZE_OBJECTIVES_CONCRETE_FUNCTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "objectives/aligned_buffer.h"
#include "objectives/objective.h"
#include "objectives/op_call.h"
#include "objectives/tfe_api.h"
#include "objectives/trial.h"

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

/// One segment of x as TensorFlow sees it.
struct Component {
  std::size_t offset = 0;           ///< Of its first element in x; a multiple of 8, as TensorFlow reads at 64 bytes.
  std::vector<std::int64_t> shape;  ///< Of the tensor.
  TF_DataType dtype = TF_DOUBLE;    ///< TF_DOUBLE or TF_FLOAT.
  std::shared_ptr<float> staging;   ///< Of a TF_FLOAT component: where it is cast to, 64-byte aligned; or empty.
};

/// The number of elements of its tensor. Throws std::invalid_argument for a component that cannot be passed.
std::size_t element_count(const Component& component);

/// A concrete function of TensorFlow, called through the eager C API on the memory of x itself.
///
/// The function's outputs are the loss, a scalar, and one gradient for each component, of its dtype and size:
///
///     x:  [ component 0 | pad | component 1 | pad | ... ]      float64, segments start at multiples of 64 bytes
///           |  in place (float64), or cast into a staging buffer (float32)
///           v
///     inputs of the function: components, arguments, captured tensors and resources, in the order of its signature
///           |
///           v
///     outputs: loss, gradient 0, gradient 1, ...  ->  g, at the offsets of the components
///
/// One object evaluates in one thread at a time, which its user sees to; several objects may run at once.
class ConcreteFunction final : public Objective {
 public:
  /// A tensor that is passed as it is, or the index of the component whose memory is passed.
  using Input = std::variant<TensorHandle, std::size_t>;

  /// `calls`: one way to call the function, or two that are tried for which is faster. `repeatable`: whether the
  /// function has no side effects; what fails in the first way is then called again in the second. `api` must outlive
  /// the object. Throws std::invalid_argument for components that cannot be passed, and TensorFlowError for a function
  /// that TensorFlow does not know.
  ConcreteFunction(const TfeApi& api, TFE_Context* context, const std::vector<CallOptions>& calls,
                   std::vector<Input> inputs, std::vector<Component> components, TF_DataType loss_dtype,
                   bool repeatable);

  /// Throws TensorFlowError with the error of the function.
  double evaluate(Span<const double> x, Span<double> g) override;

  void cancel() override;

  /// Replaces a tensor that is passed as it is by another of the same dtype.
  void set_input(std::size_t position, TensorHandle tensor);

  /// What keeps the memory of x alive as long as TensorFlow holds a tensor made of it.
  void set_owner(std::shared_ptr<const void> owner);

  /// How the function is called: the faster way, as far as it is known.
  Dispatch dispatch() const { return dispatches_[calls_.size() > 1 ? trial_.winner() : 0]; }

  /// Seconds of one evaluation, the mean of `count` in a bare loop of the same calls of TensorFlow, which gathers
  /// nothing: what evaluate() is measured by.
  double repeat(Span<const double> x, std::int64_t count);

  /// The address that TensorFlow reads for the input at `position`, which must be a component.
  const void* input_address(Span<const double> x, std::size_t position);

 private:
  /// Lets go of the tensors of one evaluation, however it ends.
  class Cleanup;

  struct Segment {
    Component component;
    std::size_t size;
  };

  void check_size(std::size_t size) const;
  void check_outputs() const;
  OpDescription describe(const CallOptions& options) const;
  void stage(Span<const double> x) const;
  TensorHandle import(const Segment& segment, Span<const double> x) const;
  void prepare_arguments(Span<const double> x);
  void run();
  void call(std::size_t way);
  double read_loss();
  void read_gradient(std::size_t index, Span<double> g);
  template <typename Read>
  void read_output(std::size_t index, Read read);

  const TfeApi& api_;
  TFE_Context* context_;
  std::vector<Input> inputs_;
  std::vector<Segment> segments_;
  TF_DataType loss_dtype_;
  bool repeatable_;
  std::string host_device_;
  std::shared_ptr<const void> owner_;
  std::size_t required_size_ = 0;

  TfStatus status_;
  std::vector<std::unique_ptr<OpCall>> calls_;
  std::vector<Dispatch> dispatches_;
  Trial trial_;
  std::vector<TensorHandle> fresh_;
  std::vector<TFE_TensorHandle*> arguments_;
  std::vector<TensorHandle> outputs_;
  bool checked_ = false;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_CONCRETE_FUNCTION_H_
