#ifndef TFMINIMIZE_OPS_FUNCTION_LIBRARY_H_
#define TFMINIMIZE_OPS_FUNCTION_LIBRARY_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "objectives/compiled_function.h"
#include "solvers/span.h"
#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_handle.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/refcount.h"

namespace tfminimize {

/// Carries an error status of TensorFlow through the loop of a solve.
class StatusError : public std::exception {
 public:
  explicit StatusError(absl::Status status) : status_(std::move(status)), message_(status_.ToString()) {}
  const absl::Status& status() const { return status_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  absl::Status status_;
  std::string message_;
};

/// Throws StatusError unless the status is OK.
inline void check(absl::Status status) {
  if (!status.ok()) throw StatusError(std::move(status));
}

/// Throws StatusError for an invalid argument; the parts make up the message.
template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw StatusError(absl::InvalidArgumentError(absl::StrCat(parts...)));
}

/// A component of x that the functions read as a variable.
struct VariableComponent {
  std::int64_t capture = 0;              ///< Which capture is the handle of the variable.
  std::size_t offset = 0;                ///< Of its first element in x.
  tensorflow::DataType dtype{};          ///< DT_DOUBLE or DT_FLOAT.
  tensorflow::PartialTensorShape shape;  ///< Fully defined.
};

/// The captures of an op, as its functions take them.
struct Captures {
  std::vector<tensorflow::Tensor> tensors;        ///< For a batched one any of the shape of a slice.
  std::vector<VariableComponent> variables = {};  ///< Those that are part of x.
  std::vector<BatchedInput> batched = {};         ///< Their positions count x.
};

/// The inputs of all functions of one solve: x, and the captures.
///
/// If a captured variable is optimised, another variable stands in for it, so that the solve does not touch the user's
/// variable. The stand-in gets its value from x and lives as long as this object.
class FunctionInputs {
 public:
  /// x has `size` elements, as many as the variables if there are any. `context` must outlive the object. Throws
  /// StatusError if a variable has another dtype or shape than `variables` says.
  FunctionInputs(tensorflow::OpKernelContext& context, std::size_t size, const Captures& captures);
  FunctionInputs(const FunctionInputs&) = delete;
  FunctionInputs& operator=(const FunctionInputs&) = delete;

  /// Lets the next calls read this x. What a function has kept of an earlier x does not change.
  void set(Span<const double> x);

  /// Lets the next calls read the values of these inputs for one problem.
  void select(const std::vector<BatchedInput>& inputs, std::size_t problem);

  /// x [n], then the captures.
  const std::vector<tensorflow::Tensor>& tensors() const { return tensors_; }

 private:
  /// Stands in for one of the user's variables. It is in the resource manager as long as this lives.
  struct StandIn {
    StandIn(tensorflow::OpKernelContext& context, const std::string& name, const VariableComponent& component);
    ~StandIn();
    StandIn(const StandIn&) = delete;
    StandIn& operator=(const StandIn&) = delete;

    tensorflow::ResourceMgr& resources;
    tensorflow::core::RefCountPtr<tensorflow::Var> variable;
    tensorflow::ResourceHandle handle;
    std::size_t offset;
    tensorflow::DataType dtype;
    tensorflow::TensorShape shape;
  };

  std::vector<tensorflow::Tensor> tensors_;
  std::list<StandIn> stand_ins_;
};

/// A function of TensorFlow's library in one step of a graph. It runs in the calling thread and waits for no other
/// thread of TensorFlow, so any number of solves can run at once in TensorFlow's few threads.
class LibraryFunction {
 public:
  /// `cancellation` and what `context` points to must outlive the object. An error in the function cancels
  /// `cancellation` too. `name` is the name of the function in messages.
  LibraryFunction(const tensorflow::OpKernelContext& context, tensorflow::FunctionLibraryRuntime::Handle handle,
                  tensorflow::CancellationManager& cancellation, std::string name);
  LibraryFunction(const LibraryFunction&) = delete;
  LibraryFunction& operator=(const LibraryFunction&) = delete;

  /// Returns the results, which are valid until the next call. Throws StatusError.
  const std::vector<tensorflow::Tensor>& call(const std::vector<tensorflow::Tensor>& inputs);

  /// Drops the results, so that memory which they share with the inputs can be written again.
  void forget() { results_.clear(); }

  const std::string& name() const { return name_; }

  /// The elements of result i, which must be float64. Throws StatusError unless it has this shape.
  Span<const double> doubles(std::size_t i, const std::vector<std::size_t>& shape) const;

 private:
  tensorflow::FunctionLibraryRuntime* library_;
  tensorflow::FunctionLibraryRuntime::Handle handle_;
  std::function<void(std::function<void()>)> run_here_;
  tensorflow::FunctionLibraryRuntime::Options options_;
  std::vector<tensorflow::Tensor> results_;
  std::string name_;
  int depth_;  ///< Of nested solves; the calls may be made in another thread.
};

/// Lets an objective call a library function of (x [n], captures...). The results are float64 of these shapes; those
/// without elements are left out.
class FunctionLibrary final : public CompiledFunction {
 public:
  using Shapes = std::vector<std::vector<std::size_t>>;

  /// `function`, `inputs` and `components` must outlive the object.
  FunctionLibrary(LibraryFunction& function, FunctionInputs& inputs, Shapes shapes, Components& components,
                  std::vector<Output> outputs)
      : CompiledFunction(components, {}, std::move(outputs)),
        function_(function),
        inputs_(inputs),
        shapes_(std::move(shapes)) {
    holds_results_ = true;
  }

  const char* way() const override { return "library"; }
  void begin_batch(const std::vector<BatchedInput>& inputs) override { batch_ = inputs; }
  void select(std::size_t problem) override { inputs_.select(batch_, problem); }
  void end_batch() override { batch_.clear(); }

 private:
  // Throws StatusError.
  void run(Span<const double> x) override;
  void release() override { function_.forget(); }

  LibraryFunction& function_;
  FunctionInputs& inputs_;
  Shapes shapes_;
  std::vector<BatchedInput> batch_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_FUNCTION_LIBRARY_H_
