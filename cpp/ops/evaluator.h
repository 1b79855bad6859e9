#ifndef TFMINIMIZE_OPS_EVALUATOR_H_
#define TFMINIMIZE_OPS_EVALUATOR_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "objectives/batched_input.h"
#include "objectives/function_objective.h"
#include "ops/attributes.h"
#include "ops/function_library.h"
#include "ops/instantiate.h"
#include "ops/machine_code.h"
#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace tfminimize {

/// What one run of an op computes with.
struct Run {
  tensorflow::OpKernelContext& context;
  const std::vector<Callable>& functions;
  MachineCode& machine_code;
  bool is_first;  ///< Whether it is the first run of the op.
};

/// What evaluates the functions in one run of an op: their machine code, or else TensorFlow.
class Backend {
 public:
  /// For n variables. `attributes` and what `run` points to must outlive the object.
  Backend(const Run& run, const Attributes& attributes, std::size_t n, const Captures& captures);

  const char* name() const { return is_machine_code_ ? "xla" : "tensorflow"; }
  const std::string& reason() const { return reason_; }
  bool is_machine_code() const { return is_machine_code_; }

 private:
  friend class Evaluator;

  std::vector<FunctionLibrary::Shapes> shapes_;
  MachineArguments arguments_;
  std::vector<MachineProgram> programs_;
  bool is_machine_code_ = false;
  std::string reason_ = "jit_compile is not True, so TensorFlow runs the function";
};

/// Evaluates the functions in one thread.
class Evaluator {
 public:
  /// `backend` and what it was made with must outlive the object.
  Evaluator(const Backend& backend, const Run& run, const Attributes& attributes, std::size_t n,
            const Captures& captures);
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  FunctionObjective& objective() { return *objective_; }

  /// What functions that TensorFlow runs take.
  FunctionInputs& inputs() { return inputs_; }

  /// The function with this index among those of the run, called by TensorFlow.
  LibraryFunction& function(std::size_t i) { return *functions_.at(i); }

 private:
  std::unique_ptr<tensorflow::CancellationManager> cancellation_;  ///< Of the calls.
  FunctionInputs inputs_;
  std::vector<std::unique_ptr<LibraryFunction>> functions_;
  std::unique_ptr<FunctionObjective> objective_;
};

/// Sets the outputs that name it.
void set_backend(tensorflow::OpKernelContext& context, const Backend& backend);

/// Logs a warning if XLA has compiled the function anew in most evaluations of the first run: these took so many
/// seconds, and there were so many, both without the first. Must be called last, since it overwrites x and all results.
void look_for_compilations(const Run& run, const Attributes& attributes, const Backend& backend, double seconds,
                           std::int64_t count, const solvers::Problem& problem, Objective& objective);

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_EVALUATOR_H_
