#ifndef TFMINIMIZE_XLA_XLA_FUNCTION_H_
#define TFMINIMIZE_XLA_XLA_FUNCTION_H_

#include <algorithm>
#include <cstddef>
#include <memory>
#include <variant>
#include <vector>

#include "objectives/aligned_buffer.h"
#include "objectives/batched_input.h"
#include "objectives/components.h"
#include "objectives/outputs.h"
#include "solvers/span.h"
#include "tfe/tfe_api.h"
#include "xla/xla_program.h"

namespace tfminimize {

/// The memory of a tensor on the host, kept alive, 64-byte aligned.
struct HostTensor {
  std::shared_ptr<const void> memory;
  TF_DataType dtype = TF_DOUBLE;
  std::size_t bytes = 0;
};

/// The memory of a tensor of TensorFlow: its own, or a copy if that is on another device or not aligned.
HostTensor host_tensor(const TfeApi& api, TFE_Context* context, TensorHandle tensor);

/// What to call, and on what.
struct XlaOptions {
  /// A tensor that is passed as it is, or the index of the component whose memory is passed.
  using Input = std::variant<HostTensor, std::size_t>;

  std::shared_ptr<XlaProgram> program;
  std::vector<Input> inputs;  ///< In the order of the program's parameters.
};

/// A program of XLA, called on the memory of x itself.
///
/// One object is called in one thread at a time, which its user sees to; several objects may be at once.
class XlaFunction {
 public:
  using Input = XlaOptions::Input;

  /// `components` must outlive the object. Throws std::invalid_argument for inputs and outputs that are not those of
  /// the program.
  XlaFunction(Components& components, XlaOptions options, std::vector<Output> outputs);

  /// Lets the program write a result of doubles to `target` itself, from the next run() on. Any other result, or one
  /// whose target is not aligned, is written to memory of this object.
  void place(std::size_t index, double* target) {
    if (targets_[index] != target) set_target(index, target);
  }

  /// Runs the program at x. The components must be staged. Throws std::runtime_error with XLA's message.
  void run(Span<const double> x) {
    if (x.data() != x_) set_x(x);
    call_->run();
  }

  /// Calls read(elements) with a result of the last run(), a const float* or const double*.
  template <typename Read>
  void read(std::size_t index, const Read& read) const;

  /// The result of a scalar output.
  double scalar(std::size_t index) const {
    double value = 0;
    read(index, [&](const auto* source) { value = static_cast<double>(*source); });
    return value;
  }

  /// Writes a result, as doubles, unless the program has written it to `target` itself.
  void copy(std::size_t index, double* target) const {
    if (results_[index] == target) return;
    read(index, [&](const auto* source) {
      std::transform(source, source + outputs_[index].size, target,
                     [](auto value) { return static_cast<double>(value); });
    });
  }

  /// Replaces a tensor that is passed as it is by another of the same dtype and size.
  void set_input(std::size_t position, HostTensor tensor);

  /// Throws std::invalid_argument if set_input() would.
  void check_input(std::size_t position, const HostTensor& tensor) const;

  /// See Evaluator.
  void begin_batch(const std::vector<BatchedInput>& inputs);
  void select(std::size_t problem);
  void end_batch();

  /// The address that the program reads for the input at `position`.
  const void* input_address(Span<const double> x, std::size_t position) const;

 private:
  /// An input of the batch, and memory for the values that are not aligned.
  struct Batched {
    BatchedInput input;
    AlignedBuffer<unsigned char> copy;
  };

  void check_outputs() const;
  const HostTensor& replaceable(std::size_t position) const;
  void use(std::unique_ptr<XlaCall> call);
  void set_x(Span<const double> x);
  void set_target(std::size_t index, double* target);
  void set_result(std::size_t index, void* memory);

  Components& components_;
  std::shared_ptr<XlaProgram> program_;
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  std::vector<Batched> batch_;
  std::unique_ptr<XlaCall> call_;
  std::unique_ptr<XlaCall> usual_call_;            ///< While a batch has another.
  std::vector<AlignedBuffer<unsigned char>> own_;  ///< Memory for the results that are not written elsewhere.
  std::vector<void*> results_;                     ///< Where each result is written.
  std::vector<const double*> targets_;             ///< Where each was asked for.
  const double* x_ = nullptr;
};

template <typename Read>
void XlaFunction::read(std::size_t index, const Read& read) const {
  if (outputs_[index].dtype == TF_FLOAT) {
    read(static_cast<const float*>(results_[index]));
  } else {
    read(static_cast<const double*>(results_[index]));
  }
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_XLA_XLA_FUNCTION_H_
