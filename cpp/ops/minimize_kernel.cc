#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "Eigen/Cholesky"
#include "driver/drive.h"
#include "driver/history.h"
#include "objectives/function_objective.h"
#include "ops/attributes.h"
#include "ops/function_library.h"
#include "ops/instantiate.h"
#include "ops/machine_code.h"
#include "ops/nested.h"
#include "ops/recompilation.h"
#include "ops/solve_history.h"
#include "solvers/aligned_array.h"
#include "solvers/bfgs/bfgs.h"
#include "solvers/lbfgsb/lbfgsb.h"
#include "solvers/memory.h"
#include "solvers/problem.h"
#include "solvers/slsqp/slsqp.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/refcount.h"
#include "tensorflow/core/platform/tstring.h"

namespace tfminimize {
namespace {

using tensorflow::FunctionLibraryRuntime;
using tensorflow::NameAttrList;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

/// A function of the op, ready to be called, and its name in messages.
struct Callable {
  FunctionLibraryRuntime::Handle handle;
  std::string name;
};

using Callables = std::vector<Callable>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Span<const double> vector_input(OpKernelContext& context, const char* name) {
  const Tensor* tensor = nullptr;
  check(context.input(name, &tensor));
  if (tensor->dims() != 1) fail(name, " must be a vector, but has shape ", tensor->shape().DebugString(), ".");
  return {tensor->flat<double>().data(), to_size(tensor->NumElements())};
}

/// A matrix of n rows and columns that is symmetric, up to what NumPy's allclose() allows, and positive definite. None
/// if the input has the shape [0, 0].
solvers::DenseMatrix inverse_hessian_input(OpKernelContext& context, const char* name, std::size_t n) {
  const Tensor* tensor = nullptr;
  check(context.input(name, &tensor));
  if (tensor->dims() == 2 && tensor->NumElements() == 0) return {};
  const auto size = static_cast<std::int64_t>(n);
  if (tensor->shape() != tensorflow::TensorShape({size, size})) {
    fail(name, " has shape ", tensor->shape().DebugString(),
         ": it must be a matrix with a row and a column for each of ", n, " elements of x0.");
  }
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const double* data = tensor->flat<double>().data();
  const Eigen::Map<const Matrix> matrix(data, size, size);
  if (!matrix.allFinite()) fail(name, " holds a number that is not finite: give an inverse Hessian.");
  const auto difference = (matrix - matrix.transpose()).array().abs();
  if ((difference > 1e-8 + 1e-5 * matrix.array().abs()).any()) fail(name, " is not symmetric: give (H + Hᵀ) / 2.");
  if (Eigen::LLT<Matrix>(matrix).info() != Eigen::Success) {
    fail(name, " is not positive definite: add a multiple of the identity.");
  }
  return {std::shared_ptr<const double>(std::shared_ptr<void>(), data), n, n};  // the context owns it
}

double number_input(OpKernelContext& context, const char* name, double least = -kInfinity) {
  const Tensor* tensor = nullptr;
  check(context.input(name, &tensor));
  if (tensor->dims() != 0) fail(name, " must be a scalar, but has shape ", tensor->shape().DebugString(), ".");
  const double value = tensor->scalar<double>()();
  if (!(value >= least)) {
    fail(name, " is ", value, ": it must be a number", least == 0 ? ", 0 or greater." : ".");
  }
  return value;
}

std::vector<Tensor> list_input(OpKernelContext& context, const char* name) {
  tensorflow::OpInputList list;
  check(context.input_list(name, &list));
  return {list.begin(), list.end()};
}

double* vector_output(OpKernelContext& context, const char* name, std::size_t size) {
  Tensor* tensor = nullptr;
  check(context.allocate_output(name, {static_cast<std::int64_t>(size)}, &tensor));
  return tensor->flat<double>().data();
}

template <typename T>
void set_scalar(OpKernelContext& context, const char* name, T value) {
  Tensor* tensor = nullptr;
  check(context.allocate_output(name, {}, &tensor));
  tensor->scalar<T>()() = value;
}

/// Makes a manager that is cancelled when that of the step is, but not the other way round.
std::unique_ptr<tensorflow::CancellationManager> make_cancellation(const OpKernelContext& context) {
  tensorflow::CancellationManager* step = context.cancellation_manager();
  if (step == nullptr) return std::make_unique<tensorflow::CancellationManager>();
  return std::make_unique<tensorflow::CancellationManager>(step);
}

/// One solve, with the memory that the solver works on.
class Solve {
 public:
  Solve(OpKernelContext& context, const Attributes& attributes, const Callables& callables, MachineCode& machine_code,
        bool is_first)
      : context_(context),
        attributes_(attributes),
        machine_code_(machine_code),
        is_first_(is_first),
        start_(start()),
        lower_(bound("lower")),
        upper_(bound("upper")),
        x_(Doubles::zeros(start_.size())),
        gradient_(Doubles::zeros(start_.size())),
        constraints_(Doubles::zeros(to_size(attributes.num_constraints))),
        jacobian_(Doubles::zeros(jacobian_size())),
        cancellation_(make_cancellation(context)),
        inputs_(context, start_.size(), list_input(context, "captures"), attributes.variables),
        machine_arguments_(context, start_.size(), list_input(context, "captures"), attributes.variables) {
    for (const Callable& function : callables) {
      functions_.push_back(std::make_unique<LibraryFunction>(context, function.handle, *cancellation_, function.name));
    }
    LibraryFunction* trace_function = attributes.trace_functions.empty() ? nullptr : functions_.back().get();
    history_ =
        std::make_unique<SolveHistory>(trace_function, inputs_, list_input(context, "state"), attributes.trace_shapes);
    check_start();
    std::copy(start_.begin(), start_.end(), x_.data());
  }

  void run() {
    const solvers::Problem problem = make_problem();
    const std::unique_ptr<solvers::Solver> solver = make_solver(problem);
    const std::unique_ptr<FunctionObjective> objective = make_objective();
    Callbacks callbacks;
    if (history_->has_function()) {
      if (attributes_.trace_start) {
        callbacks.on_start = [&](double f) { history_->call(x_.span(), f, gradient_.span()); };
      }
      callbacks.on_iteration = [&] { return history_->call(x_.span(), solver->fun(), gradient_.span()); };
      callbacks.reads_derivatives = true;
    }
    callbacks.poll = poll();
    callbacks.poll();
    History record;
    record.keeps_rows = true;
    const Timing timing = drive(*solver, problem, *objective, callbacks, &record);
    set_solution(*solver);
    set_history(record);
    set_trace();
    set_scalar<tensorflow::tstring>(context_, "backend", is_machine_code_ ? "xla" : "tensorflow");
    set_scalar<tensorflow::tstring>(context_, "backend_reason", backend_reason_);
    if (is_first_ && attributes_.jit_compile && !is_machine_code_) {
      look_for_compilations(timing, solver->nfev(), problem, *objective);
    }
  }

 private:
  using Doubles = solvers::AlignedArray<double>;

  Span<const double> start() const {
    const Span<const double> x0 = vector_input(context_, "x0");
    attributes_.check_size(static_cast<std::int64_t>(x0.size()));
    return x0;
  }

  Span<const double> bound(const char* name) const {
    const Span<const double> values = vector_input(context_, name);
    if (!values.empty() && values.size() != start_.size()) {
      fail(name, " has ", values.size(), " elements, but x0 has ", start_.size(), ".");
    }
    return values;
  }

  void check_start() const {
    for (std::size_t i = 0; i < start_.size(); ++i) {
      if (!std::isfinite(start_[i])) fail("x0[", i, "] is ", start_[i], " at the start: give a finite value.");
    }
    if (lower_.size() != upper_.size()) {
      fail("lower has ", lower_.size(), " elements and upper ", upper_.size(), ": give both, or neither.");
    }
    for (std::size_t i = 0; i < lower_.size(); ++i) {
      if (lower_[i] <= upper_[i] && lower_[i] < kInfinity && upper_[i] > -kInfinity) continue;
      fail("the bounds for element ", i, " of x are (", lower_[i], ", ", upper_[i],
           "): the lower must not be greater than the upper, and a finite value must satisfy both.");
    }
  }

  /// Ends the solve when the step is cancelled.
  InterruptPoll poll() const {
    return [manager = context_.cancellation_manager()] {
      if (manager != nullptr && manager->IsCancelled()) check(absl::CancelledError("The solve was cancelled."));
    };
  }

  std::size_t jacobian_size() const {
    const std::size_t stride = solvers::Problem::stride(start_.size());
    const std::size_t m = to_size(attributes_.num_constraints);
    if (m > std::numeric_limits<std::size_t>::max() / sizeof(double) / stride) throw std::bad_alloc();
    return m * stride;
  }

  solvers::Problem make_problem() const {
    solvers::Problem problem;
    problem.x = x_.span();
    problem.gradient = gradient_.span();
    problem.constraints = constraints_.span();
    problem.jacobian = jacobian_.span();
    problem.num_equalities = to_size(attributes_.num_equalities);
    problem.lower = lower_;
    problem.upper = upper_;
    return problem;
  }

  std::unique_ptr<solvers::Solver> make_solver(const solvers::Problem& problem) const {
    switch (attributes_.method) {
      case Method::kSlsqp:
        return std::make_unique<solvers::Slsqp>(problem, slsqp_options());
      case Method::kBfgs:
        return std::make_unique<solvers::Bfgs>(problem, bfgs_options());
      case Method::kLbfgsb:
        break;
    }
    return std::make_unique<solvers::Lbfgsb>(problem, lbfgsb_options());
  }

  solvers::LbfgsbOptions lbfgsb_options() const {
    solvers::LbfgsbOptions options = attributes_.lbfgsb;
    options.ftol = number_input(context_, "ftol", 0);
    options.gtol = number_input(context_, "gtol");
    return options;
  }

  solvers::SlsqpOptions slsqp_options() const {
    solvers::SlsqpOptions options = attributes_.slsqp;
    options.ftol = number_input(context_, "ftol", 0);
    return options;
  }

  solvers::BfgsOptions bfgs_options() const {
    solvers::BfgsOptions options = attributes_.bfgs;
    options.gtol = number_input(context_, "gtol");
    options.norm = number_input(context_, "norm");
    options.xrtol = number_input(context_, "xrtol", 0);
    options.c1 = number_input(context_, "c1");
    options.c2 = number_input(context_, "c2");
    options.hess_inv0 = inverse_hessian_input(context_, "hess_inv0", start_.size());
    if (options.norm == 0) fail("norm is 0: it must be the order of a norm, such as 2.");
    return options;
  }

  std::unique_ptr<FunctionObjective> make_objective() {
    const std::size_t n = start_.size();
    const std::size_t m = constraints_.size();
    std::vector<FunctionLibrary::Shapes> shapes{{{}, {n}}};
    if (attributes_.is_constrained()) shapes = {{{}, {m}}, {{}, {m}, {n}, {m, n}}};
    const std::vector<MachineProgram> programs = machine_programs(shapes);
    std::vector<MakeFunction> make;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      make.emplace_back([this, i, &shapes, &programs](
                            Components& components, std::vector<Output> outputs) -> std::unique_ptr<CompiledFunction> {
        if (!is_machine_code_) {
          return std::make_unique<FunctionLibrary>(*functions_[i], inputs_, shapes[i], components, std::move(outputs));
        }
        return std::make_unique<MachineFunction>(programs[i], machine_arguments_, components, std::move(outputs));
      });
    }
    std::vector<ConstraintRow> rows;
    for (std::size_t i = 0; i < m; ++i) rows.push_back({i, i, 1, 0});
    const Component whole{0, {static_cast<std::int64_t>(n)}, TF_DOUBLE, nullptr};
    return std::make_unique<FunctionObjective>(std::vector<Component>{whole}, FunctionOutputs{TF_DOUBLE, TF_DOUBLE, m},
                                               make, std::move(rows));
  }

  /// The functions as machine code; none if TensorFlow must call them. Sets the backend.
  std::vector<MachineProgram> machine_programs(const std::vector<FunctionLibrary::Shapes>& shapes) {
    backend_reason_ = "jit_compile is not True, so TensorFlow runs the function";
    if (!attributes_.jit_compile) return {};
    try {
      const auto& library = *context_.function_library()->GetFunctionLibraryDefinition();
      std::vector<MachineProgram> programs = machine_code_.programs(library, machine_arguments_, shapes);
      backend_reason_ = "XLA compiled the function to machine code";
      is_machine_code_ = true;
      return programs;
    } catch (const std::runtime_error& error) {
      backend_reason_ = error.what();
      if (is_first_) VLOG(1) << context_.op_kernel().name() << ": TensorFlow runs the function: " << backend_reason_;
      return {};
    }
  }

  /// Must be called last, since it overwrites x and all results.
  void look_for_compilations(const Timing& timing, std::int64_t nfev, const solvers::Problem& problem,
                             Objective& objective) {
    const auto evaluate = [&] { objective.evaluate(problem.x, buffers_of(problem)); };
    try {
      log_if_compiled_anew(timing.evaluate - timing.first, nfev - 1, x_.span(), context_.op_kernel().name(), evaluate);
    } catch (const StatusError&) {  // The function may be undefined next to x.
    }
  }

  void set_solution(const solvers::Solver& solver) {
    const Span<const double> multipliers = solver.multipliers();
    std::copy_n(x_.data(), x_.size(), vector_output(context_, "x", x_.size()));
    std::copy_n(gradient_.data(), gradient_.size(), vector_output(context_, "jac", gradient_.size()));
    std::copy(multipliers.begin(), multipliers.end(), vector_output(context_, "multipliers", multipliers.size()));
    set_scalar(context_, "fun", solver.fun());
    set_scalar(context_, "nit", solver.nit());
    set_scalar(context_, "nfev", solver.nfev());
    set_scalar(context_, "njev", solver.njev());
    set_scalar(context_, "status", static_cast<std::int32_t>(solver.status_code()));
    set_scalar(context_, "constr_violation", solver.constr_violation());
  }

  void set_history(const History& record) {
    Tensor* tensor = nullptr;
    check(context_.allocate_output("history", {count_history_columns(), static_cast<std::int64_t>(record.rows.size())},
                                   &tensor));
    double* value = tensor->flat<double>().data();
    for_each_column([&](const char* /*name*/, auto member) {
      for (const History::Row& row : record.rows) *value++ = static_cast<double>(row.*member);
    });
  }

  void set_trace() {
    tensorflow::OpOutputList traced;
    check(context_.output_list("trace", &traced));
    for (int i = 0; i < traced.size(); ++i) {
      Tensor* stacked = nullptr;
      check(traced.allocate(i, history_->stacked_shape(to_size(i)), &stacked));
      history_->stack(to_size(i), *stacked);
    }
  }

  OpKernelContext& context_;
  const Attributes& attributes_;
  MachineCode& machine_code_;
  bool is_first_;
  bool is_machine_code_ = false;
  std::string backend_reason_;
  Span<const double> start_;
  Span<const double> lower_;
  Span<const double> upper_;
  Doubles x_;
  Doubles gradient_;
  Doubles constraints_;
  Doubles jacobian_;
  std::unique_ptr<tensorflow::CancellationManager> cancellation_;  ///< Of the calls.
  FunctionInputs inputs_;
  MachineArguments machine_arguments_;
  std::vector<std::unique_ptr<LibraryFunction>> functions_;
  std::unique_ptr<SolveHistory> history_;
};

/// The functions of an op in one library. The op may outlive the library.
class Instantiated {
 public:
  explicit Instantiated(FunctionLibraryRuntime& library) : library_(&library) {}
  ~Instantiated() {
    const auto library = library_.GetNewRef();
    if (library == nullptr) return;
    for (const Callable& function : functions_) library->ReleaseHandle(function.handle).IgnoreError();
  }
  Instantiated(Instantiated&&) = default;
  Instantiated(const Instantiated&) = delete;
  Instantiated& operator=(const Instantiated&) = delete;

  /// Whether the library still exists; another one may have its address by now.
  bool is_alive() const { return library_.GetNewRef() != nullptr; }

  /// Adds the functions of an attribute.
  void add(const char* attribute, const std::vector<NameAttrList>& functions, const std::vector<Signature>& signatures,
           bool jit_compile) {
    const auto library = library_.GetNewRef();
    for (std::size_t i = 0; i < functions.size(); ++i) {
      std::string name = absl::StrCat(attribute, "[", i, "], ", functions[i].name(), ",");
      functions_.push_back({instantiate(*library, functions[i], name, signatures[i], jit_compile), name});
    }
  }

  const Callables& functions() const { return functions_; }

 private:
  tsl::core::WeakPtr<FunctionLibraryRuntime> library_;
  Callables functions_;
};

/// Runs each solve in one thread of TensorFlow from start to end, without waiting for other threads. Solves that take
/// long leave the calling thread, which may have other kernels to start.
class MinimizeOp : public tensorflow::AsyncOpKernel {
 public:
  explicit MinimizeOp(OpKernelConstruction* context) : AsyncOpKernel(context) {
    try {
      attributes_ = std::make_unique<Attributes>(*context);
      machine_code_ = std::make_unique<MachineCode>(attributes_->functions);
    } catch (const StatusError& error) {
      context->SetStatus(error.status());
    }
  }

  void ComputeAsync(OpKernelContext* context, DoneCallback done) override {
    auto solve = [this, context, done = std::move(done)] {
      const double seconds = seconds_of([&] { context->SetStatus(this->solve(*context)); });
      is_short_.store(seconds < kShort);
      done();
    };
    if (context->run_all_kernels_inline() || context->runner() == nullptr || is_short_.load()) {
      solve();
    } else {
      (*context->runner())(std::move(solve));
    }
  }

 private:
  absl::Status solve(OpKernelContext& context) {
    const Nested nested;
    try {
      nested.check_depth();
      Solve(context, *attributes_, functions(context), *machine_code_, is_first_.exchange(false)).run();
      return absl::OkStatus();
    } catch (const StatusError& error) {
      return error.status();
    } catch (const solvers::OutOfMemory& error) {
      return absl::ResourceExhaustedError(error.what());
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError(
          "There is no memory for the solver: give a smaller maxcor, or fewer constraints.");
    } catch (const std::exception& error) {
      return absl::InvalidArgumentError(error.what());
    }
  }

  /// The functions, instantiated once in each library, since a session shares this kernel between several libraries.
  const Callables& functions(const OpKernelContext& context) {
    FunctionLibraryRuntime* library = context.function_library();
    if (library == nullptr) fail("functions cannot be called: this step has no function library.");
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = instantiated_.find(library);
    if (found != instantiated_.end()) {
      if (found->second.is_alive()) return found->second.functions();
      instantiated_.erase(found);
    }
    Instantiated fresh(*library);
    fresh.add("functions", attributes_->functions, attributes_->signatures(), attributes_->jit_compile);
    fresh.add("trace_functions", attributes_->trace_functions, {attributes_->trace_signature()},
              attributes_->jit_compile);
    return instantiated_.emplace(library, std::move(fresh)).first->second.functions();
  }

  std::unique_ptr<const Attributes> attributes_;
  std::unique_ptr<MachineCode> machine_code_;
  static constexpr double kShort = 1e-4;  ///< Seconds; to wake another thread takes 10 to 50 µs.

  std::atomic<bool> is_short_{false};  ///< Whether the last solve was short.
  std::atomic<bool> is_first_{true};   ///< Whether no solve has begun yet.
  std::mutex mutex_;
  std::map<const FunctionLibraryRuntime*, Instantiated> instantiated_;
};

REGISTER_KERNEL_BUILDER(Name("TfminimizeMinimize").Device(tensorflow::DEVICE_CPU), MinimizeOp);

}  // namespace
}  // namespace tfminimize
