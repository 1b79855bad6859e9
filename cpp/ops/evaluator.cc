#include "ops/evaluator.h"

#include <stdexcept>
#include <utility>

#include "driver/drive.h"
#include "ops/kernel_values.h"
#include "ops/recompilation.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/tstring.h"

namespace tfminimize {
namespace {

using tensorflow::CancellationManager;
using tensorflow::OpKernelContext;

/// Makes a manager that is cancelled when that of the step is, but not the other way round.
std::unique_ptr<CancellationManager> make_cancellation(const OpKernelContext& context) {
  CancellationManager* step = context.cancellation_manager();
  if (step == nullptr) return std::make_unique<CancellationManager>();
  return std::make_unique<CancellationManager>(step);
}

}  // namespace

Backend::Backend(const Run& run, const Attributes& attributes, std::size_t n, const Captures& captures)
    : shapes_(attributes.result_shapes(n)), arguments_(run.context, n, captures) {
  if (!attributes.jit_compile) return;
  try {
    const auto& library = *run.context.function_library()->GetFunctionLibraryDefinition();
    programs_ = run.machine_code.programs(library, arguments_, shapes_);
    reason_ = "XLA compiled the function to machine code";
    is_machine_code_ = true;
  } catch (const std::runtime_error& error) {
    reason_ = error.what();
    if (run.is_first) VLOG(1) << run.context.op_kernel().name() << ": TensorFlow runs the function: " << reason_;
  }
}

Evaluator::Evaluator(const Backend& backend, const Run& run, const Attributes& attributes, std::size_t n,
                     const Captures& captures)
    : cancellation_(make_cancellation(run.context)), inputs_(run.context, n, captures) {
  functions_.reserve(run.functions.size());
  for (const Callable& function : run.functions) {
    functions_.push_back(
        std::make_unique<LibraryFunction>(run.context, function.handle, *cancellation_, function.name));
  }
  std::vector<MakeFunction> make;
  make.reserve(backend.shapes_.size());
  for (std::size_t i = 0; i < backend.shapes_.size(); ++i) {
    make.emplace_back([&, i](Components& components, std::vector<Output> outputs) -> std::unique_ptr<CompiledFunction> {
      if (backend.is_machine_code()) {
        return std::make_unique<MachineFunction>(backend.programs_[i], backend.arguments_, components,
                                                 std::move(outputs));
      }
      return std::make_unique<FunctionLibrary>(*functions_[i], inputs_, backend.shapes_[i], components,
                                               std::move(outputs));
    });
  }
  const std::size_t m = to_size(attributes.num_constraints);
  std::vector<ConstraintRow> rows;
  rows.reserve(m);
  for (std::size_t i = 0; i < m; ++i) rows.push_back({i, i, 1, 0});
  const Component whole{0, {static_cast<std::int64_t>(n)}, TF_DOUBLE, nullptr};
  objective_ = std::make_unique<FunctionObjective>(std::vector<Component>{whole},
                                                   FunctionOutputs{TF_DOUBLE, TF_DOUBLE, m}, make, std::move(rows));
}

void set_backend(OpKernelContext& context, const Backend& backend) {
  set_scalar<tensorflow::tstring>(context, "backend", backend.name());
  set_scalar<tensorflow::tstring>(context, "backend_reason", backend.reason());
}

void look_for_compilations(const Run& run, const Attributes& attributes, const Backend& backend, double seconds,
                           std::int64_t count, const solvers::Problem& problem, Objective& objective) {
  if (!run.is_first || !attributes.jit_compile || backend.is_machine_code()) return;
  const auto evaluate = [&] { objective.evaluate(problem.x, buffers_of(problem)); };
  try {
    log_if_compiled_anew(seconds, count, problem.x, run.context.op_kernel().name(), evaluate);
  } catch (const StatusError&) {  // The function may be undefined next to x.
  }
}

}  // namespace tfminimize
