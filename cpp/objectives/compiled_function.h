#ifndef TFMINIMIZE_OBJECTIVES_COMPILED_FUNCTION_H_
#define TFMINIMIZE_OBJECTIVES_COMPILED_FUNCTION_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "objectives/batched_input.h"
#include "objectives/components.h"
#include "solvers/span.h"
#include "tensorflow/c/tf_datatype.h"

namespace tfminimize {

/// A tensor that a function is called with.
struct InputTensor {
  /// The elements on the host, 64-byte aligned; null for an input that only batches have. For a function that
  /// TensorFlow calls, TensorFlow's handle instead.
  std::shared_ptr<const void> value;
  TF_DataType dtype = TF_DOUBLE;
  std::size_t bytes = 0;  ///< Of the elements; 0 for a handle.
};

/// What one result of a function must be.
struct Output {
  std::string name;
  TF_DataType dtype = TF_DOUBLE;  ///< TF_DOUBLE or TF_FLOAT, unless it is an array.
  std::size_t size = 0;           ///< Elements.
  /// Whether the caller of arrays() alone reads it: it may have any dtype, and its size does not count.
  bool is_array = false;
  std::vector<std::int64_t> shape{};  ///< Of an array; used by functions whose results have no shape.

  std::size_t bytes() const { return size * (dtype == TF_FLOAT ? sizeof(float) : sizeof(double)); }
};

/// A result of any dtype on the host, in C order.
struct HostArray {
  const void* data = nullptr;
  std::size_t bytes = 0;
  std::vector<std::int64_t> shape;
};

/// A compiled function and its inputs. Derived classes know how to call it.
///
/// Call one object in one thread at a time; several objects may run at once.
class CompiledFunction {
 public:
  /// A tensor, which is passed as it is, or the index of a component of x, whose memory is passed.
  using Input = std::variant<InputTensor, std::size_t>;

  /// One call at x; holds the results while it lives. One at a time.
  class Call;

  /// Inputs in the order of the function's signature. `components` must outlive the object. Throws
  /// std::invalid_argument for a component that does not exist.
  CompiledFunction(Components& components, std::vector<Input> inputs, std::vector<Output> outputs);
  virtual ~CompiledFunction() = default;
  CompiledFunction(const CompiledFunction&) = delete;
  CompiledFunction& operator=(const CompiledFunction&) = delete;

  /// Lets the function itself write a result of doubles to `target`, from the next call on; null takes that back.
  void place(std::size_t index, double* target) {
    if (targets_[index] != target) set_target(index, target);
  }

  /// Replaces a tensor that is passed as it is by another of the same dtype and size. Throws std::invalid_argument, and
  /// then changes nothing.
  void set_input(std::size_t position, InputTensor tensor);
  /// Throws what set_input() would throw.
  void check_input(std::size_t position, const InputTensor& tensor) const;

  /// Lets each result have `rows` times as many elements as it had for one row; only for a function that takes any
  /// number of rows, and returns as many.
  void set_rows(std::size_t rows);

  /// Passes these elements, 64-byte aligned, as the input at `position`, until the next call of this. They must stay in
  /// place; if they change, call this again. The input must be one that only batches have. Throws
  /// std::invalid_argument if the function has no such inputs.
  virtual void pass_rows(const BatchedInput& rows);

  std::size_t num_outputs() const { return outputs_.size(); }

  /// The results of the last run that are arrays, in their order; valid until the next run.
  virtual std::vector<HostArray> arrays() { return {}; }

  /// How the function is called, in one word.
  virtual const char* way() const = 0;

  /// The address from which the function reads the input at `position`.
  virtual const void* input_address(Span<const double> x, std::size_t position);

  /// Mean seconds of one call, over `count` calls in a bare loop.
  virtual double repeat(Span<const double> x, std::int64_t count);

  /// Sets what keeps the memory of x alive while somebody holds a tensor made of it.
  virtual void set_owner(const std::shared_ptr<const void>& /*owner*/) {}

  // See Objective.
  virtual void cancel() {}
  virtual void begin_batch(const std::vector<BatchedInput>& inputs);
  virtual void select(std::size_t problem) = 0;
  virtual void end_batch() = 0;

 protected:
  /// Runs the function at x, whose components are staged, and sets the results. If it throws, it holds no results.
  virtual void run(Span<const double> x) = 0;
  /// Releases the results; called only if `holds_results_`.
  virtual void release() {}
  virtual void set_target(std::size_t index, double* target) { targets_[index] = target; }
  /// Called after the tensor at `position` has been replaced.
  virtual void input_changed(std::size_t /*position*/) {}

  const Components& components() const { return components_; }
  const std::vector<Input>& inputs() const { return inputs_; }
  const std::vector<Output>& outputs() const { return outputs_; }
  /// The component that is passed at `position`, or null.
  const std::size_t* component_at(std::size_t position) const { return std::get_if<std::size_t>(&inputs_[position]); }
  /// The tensor that is passed as it is at `position`. Throws std::invalid_argument if there is none.
  const InputTensor& replaceable(std::size_t position) const;
  void replace(std::size_t position, InputTensor tensor) { inputs_[position] = std::move(tensor); }

  std::vector<const void*> results_;    ///< Where each result is, on the host; null for none.
  std::vector<const double*> targets_;  ///< Where the caller wants each result.
  bool holds_results_ = false;          ///< Whether release() must be called after a run.

 private:
  Components& components_;
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  std::size_t rows_ = 1;
};

class CompiledFunction::Call {
 public:
  /// The components of x must be staged. Throws what the function throws.
  Call(CompiledFunction& function, Span<const double> x) : function_(function) { function.run(x); }
  ~Call() {
    if (function_.holds_results_) function_.release();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  /// Calls read(elements) with a result, a const float* or const double*, unless it has no elements.
  template <typename Read>
  void read(std::size_t index, const Read& read) const {
    const Output& output = function_.outputs_[index];
    if (output.size == 0) return;
    if (output.dtype == TF_FLOAT) {
      read(static_cast<const float*>(function_.results_[index]));
    } else {
      read(static_cast<const double*>(function_.results_[index]));
    }
  }

  /// The result of a scalar output.
  double scalar(std::size_t index) const {
    double value = 0;
    read(index, [&](const auto* source) { value = static_cast<double>(*source); });
    return value;
  }

  /// Writes a result to `target` as doubles, unless the function has written it there itself.
  void copy(std::size_t index, double* target) const {
    if (function_.results_[index] == target) return;
    read(index, [&](const auto* source) {
      std::transform(source, source + function_.outputs_[index].size, target,
                     [](auto value) { return static_cast<double>(value); });
    });
  }

 private:
  CompiledFunction& function_;
};

/// Makes a compiled function with these components and outputs.
using MakeFunction =
    std::function<std::unique_ptr<CompiledFunction>(Components& components, std::vector<Output> outputs)>;

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_COMPILED_FUNCTION_H_
