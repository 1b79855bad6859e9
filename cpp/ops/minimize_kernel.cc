#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "driver/drive.h"
#include "objectives/aligned_buffer.h"
#include "ops/function_library.h"
#include "ops/instantiate.h"
#include "ops/solve_trace.h"
#include "solvers/lbfgsb.h"
#include "solvers/slsqp.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/refcount.h"

namespace tfminimize {
namespace {

using tensorflow::FunctionLibraryRuntime;
using tensorflow::NameAttrList;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

std::size_t to_size(std::int64_t value) { return static_cast<std::size_t>(value); }

/// The attributes of the op.
struct Attributes {
  explicit Attributes(OpKernelConstruction* context) {
    std::string method;
    const auto get = [context](const char* name, auto* value) { check(context->GetAttr(name, value)); };
    get("method", &method);
    is_slsqp = method == "slsqp";
    get("functions", &functions);
    get("trace_functions", &trace_functions);
    get("maxcor", &lbfgsb.maxcor);
    get("maxfun", &lbfgsb.maxfun);
    get("maxiter", &lbfgsb.maxiter);
    get("maxls", &lbfgsb.maxls);
    slsqp.maxiter = lbfgsb.maxiter;
    get("num_constraints", &num_constraints);
    get("num_equalities", &num_equalities);
    tensorflow::DataType precision{};
    get("precision", &precision);
    if (precision == tensorflow::DT_FLOAT) lbfgsb.precision = std::numeric_limits<float>::epsilon();
    slsqp.precision = lbfgsb.precision;
    get("jit_compile", &jit_compile);
    get("trace_start", &trace_start);
    get("trace_shapes", &trace_shapes);
    std::vector<std::int64_t> captures;
    std::vector<tensorflow::DataType> dtypes;
    std::vector<tensorflow::PartialTensorShape> shapes;
    get("variables", &captures);
    get("variable_dtypes", &dtypes);
    get("variable_shapes", &shapes);
    if (functions.size() != (is_slsqp ? 2 : 1)) fail("method ", method, " takes another number of functions.");
    if (trace_functions.size() > 1) fail("There may be one trace function.");
    if (dtypes.size() != captures.size() || shapes.size() != captures.size()) {
      fail("Each of the variables needs a dtype and a shape.");
    }
    std::size_t offset = 0;
    for (std::size_t i = 0; i < captures.size(); ++i) {
      variables.push_back({to_size(captures[i]), offset, dtypes[i], shapes[i]});
      if (!shapes[i].IsFullyDefined()) fail("Each of the variables needs a static shape.");
      offset += to_size(shapes[i].num_elements());
    }
  }

  bool is_slsqp = false;
  std::vector<NameAttrList> functions;
  std::vector<NameAttrList> trace_functions;
  LbfgsbOptions lbfgsb;  ///< Without tolerances, which are inputs.
  SlsqpOptions slsqp;
  std::int64_t num_constraints = 0;
  std::int64_t num_equalities = 0;
  std::vector<VariableComponent> variables;
  bool jit_compile = false;
  bool trace_start = false;
  std::vector<tensorflow::PartialTensorShape> trace_shapes;
};

using Handles = std::vector<FunctionLibraryRuntime::Handle>;

Span<const double> vector_input(OpKernelContext& context, const char* name) {
  const Tensor* tensor = nullptr;
  check(context.input(name, &tensor));
  if (tensor->dims() != 1) fail(name, " must be a vector, but has shape ", tensor->shape().DebugString(), ".");
  return {tensor->flat<double>().data(), to_size(tensor->NumElements())};
}

double scalar_input(OpKernelContext& context, const char* name) {
  const Tensor* tensor = nullptr;
  check(context.input(name, &tensor));
  if (tensor->dims() != 0) fail(name, " must be a scalar, but has shape ", tensor->shape().DebugString(), ".");
  return tensor->scalar<double>()();
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

/// A manager that is cancelled with that of the step, but not the other way round.
std::unique_ptr<tensorflow::CancellationManager> make_cancellation(const OpKernelContext& context) {
  tensorflow::CancellationManager* step = context.cancellation_manager();
  if (step == nullptr) return std::make_unique<tensorflow::CancellationManager>();
  return std::make_unique<tensorflow::CancellationManager>(step);
}

/// One solve, in the memory of its own that the solver needs.
class Solve {
 public:
  Solve(OpKernelContext& context, const Attributes& attributes, const Handles& handles)
      : context_(context),
        attributes_(attributes),
        start_(vector_input(context, "x0")),
        lower_(bound("lower")),
        upper_(bound("upper")),
        x_(start_.size()),
        gradient_(start_.size()),
        cancellation_(make_cancellation(context)),
        inputs_(context, start_.size(), list_input(context, "captures"), attributes.variables) {
    for (const FunctionLibraryRuntime::Handle handle : handles) {
      functions_.push_back(std::make_unique<LibraryFunction>(context, handle, *cancellation_));
    }
    LibraryFunction* trace_function = attributes.trace_functions.empty() ? nullptr : functions_.back().get();
    trace_ = std::make_unique<SolveTrace>(trace_function, inputs_, list_input(context, "state"));
    check_start();
    std::copy(start_.begin(), start_.end(), x_.data());
  }

  void run() {
    if (attributes_.is_slsqp) {
      run_slsqp();
    } else {
      run_lbfgsb();
    }
    set_trace();
  }

 private:
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
    for (std::size_t i = 0; i < std::min(lower_.size(), upper_.size()); ++i) {
      if (lower_[i] <= upper_[i]) continue;
      fail("the bounds for element ", i, " of x are (", lower_[i], ", ", upper_[i],
           "): the lower must not be greater than the upper.");
    }
  }

  /// Ends the solve when the step is cancelled.
  InterruptPoll poll() const {
    return [manager = context_.cancellation_manager()] {
      if (manager != nullptr && manager->IsCancelled()) check(absl::CancelledError("The solve was cancelled."));
    };
  }

  /// Notes the start; f and the gradient are those there.
  void observe_start(double f) {
    trace_->add(f);
    if (trace_->has_function() && attributes_.trace_start) trace_->call(x_.span(), f, gradient_.span());
  }

  /// Notes an iteration, whose derivatives `complete` sees to; true asks for the end.
  template <typename Complete>
  bool observe(double f, const Complete& complete) {
    trace_->add(f);
    if (!trace_->has_function()) return false;
    complete();
    return trace_->call(x_.span(), f, gradient_.span());
  }

  void run_lbfgsb() {
    LbfgsbOptions options = attributes_.lbfgsb;
    options.ftol = scalar_input(context_, "ftol");
    options.gtol = scalar_input(context_, "gtol");
    FunctionLibraryObjective objective(*functions_[0], inputs_);
    Lbfgsb solver(x_.span(), gradient_.span(), lower_, upper_, options);
    poll()();
    const double f = objective.evaluate(x_.span(), gradient_.span());
    observe_start(f);
    solver.advance(f);
    drive(
        solver, x_.span(), gradient_.span(), objective, [&] { return observe(solver.fun(), [] {}); }, poll());
    set_solution(solver, solver.nfev(), 0.0, {});
  }

  void run_slsqp() {
    SlsqpOptions options = attributes_.slsqp;
    options.ftol = scalar_input(context_, "ftol");
    const std::size_t n = start_.size();
    const std::size_t m = to_size(attributes_.num_constraints);
    const AlignedBuffer<double> constraints(m);
    const AlignedBuffer<double> jacobian(m * SlsqpProblem::stride(n));
    SlsqpProblem problem;
    problem.x = x_.span();
    problem.gradient = gradient_.span();
    problem.constraints = constraints.span();
    problem.jacobian = jacobian.span();
    problem.num_equalities = to_size(attributes_.num_equalities);
    problem.lower = lower_;
    problem.upper = upper_;
    const Derivatives derivatives{problem.gradient, problem.jacobian, SlsqpProblem::stride(n)};
    ConstrainedFunctionLibraryObjective objective(*functions_[0], *functions_[1], inputs_);
    Slsqp solver(problem, options);
    poll()();
    const double f = objective.evaluate(problem.x, problem.constraints, derivatives);
    observe_start(f);
    solver.advance(f, true);
    const auto complete = [&] {
      if (!solver.has_derivatives()) objective.evaluate_derivatives(problem.x, derivatives);
    };
    drive(
        solver, problem, objective, [&] { return observe(solver.fun(), complete); }, poll());
    set_solution(solver, solver.njev(), solver.constr_violation(), solver.multipliers());
  }

  template <typename Solver>
  void set_solution(const Solver& solver, std::int64_t njev, double violation, Span<const double> multipliers) {
    std::copy_n(x_.data(), x_.size(), vector_output(context_, "x", x_.size()));
    std::copy_n(gradient_.data(), gradient_.size(), vector_output(context_, "jac", gradient_.size()));
    std::copy(multipliers.begin(), multipliers.end(), vector_output(context_, "multipliers", multipliers.size()));
    set_scalar(context_, "fun", solver.fun());
    set_scalar(context_, "nit", solver.nit());
    set_scalar(context_, "nfev", solver.nfev());
    set_scalar(context_, "njev", njev);
    set_scalar(context_, "status", static_cast<std::int32_t>(scipy_code(solver.status())));
    set_scalar(context_, "constr_violation", violation);
  }

  void set_trace() {
    const std::vector<double>& values = trace_->values();
    std::copy(values.begin(), values.end(), vector_output(context_, "history", values.size()));
    tensorflow::OpOutputList traced;
    check(context_.output_list("trace", &traced));
    for (int i = 0; i < traced.size(); ++i) {
      tensorflow::TensorShape shape;
      if (!attributes_.trace_shapes[to_size(i)].AsTensorShape(&shape)) {
        fail("trace_shapes[", i, "] must be static.");
      }
      shape.InsertDim(0, static_cast<std::int64_t>(trace_->size()));
      Tensor* stacked = nullptr;
      check(traced.allocate(i, shape, &stacked));
      trace_->stack(to_size(i), *stacked);
    }
  }

  OpKernelContext& context_;
  const Attributes& attributes_;
  Span<const double> start_;
  Span<const double> lower_;
  Span<const double> upper_;
  AlignedBuffer<double> x_;
  AlignedBuffer<double> gradient_;
  std::unique_ptr<tensorflow::CancellationManager> cancellation_;  ///< Of the calls.
  FunctionInputs inputs_;
  std::vector<std::unique_ptr<LibraryFunction>> functions_;
  std::unique_ptr<SolveTrace> trace_;
};

/// Runs each solve in one thread of TensorFlow's, from its start to its end; it waits for no other.
class MinimizeOp : public tensorflow::AsyncOpKernel {
 public:
  explicit MinimizeOp(OpKernelConstruction* context) : AsyncOpKernel(context) {
    try {
      attributes_ = std::make_unique<Attributes>(context);
    } catch (const StatusError& error) {
      context->SetStatus(error.status());
    }
  }

  ~MinimizeOp() override {
    for (const auto& [address, functions] : functions_) {
      const auto library = functions.library.GetNewRef();
      if (library == nullptr) continue;
      for (const FunctionLibraryRuntime::Handle handle : functions.handles) {
        library->ReleaseHandle(handle).IgnoreError();
      }
    }
  }
  MinimizeOp(const MinimizeOp&) = delete;
  MinimizeOp& operator=(const MinimizeOp&) = delete;

  void ComputeAsync(OpKernelContext* context, DoneCallback done) override {
    auto solve = [this, context, done = std::move(done)] {
      context->SetStatus(this->solve(*context));
      done();
    };
    // The thread that comes here may have other kernels to start.
    if (context->run_all_kernels_inline() || context->runner() == nullptr) {
      solve();
    } else {
      (*context->runner())(std::move(solve));
    }
  }

 private:
  absl::Status solve(OpKernelContext& context) {
    try {
      Solve(context, *attributes_, handles(context)).run();
      return absl::OkStatus();
    } catch (const StatusError& error) {
      return error.status();
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError(
          "There is no memory for the solver: give a smaller maxcor, or fewer constraints.");
    } catch (const std::exception& error) {
      return absl::InvalidArgumentError(error.what());
    }
  }

  /// The functions in one library. A session shares this kernel between its libraries, which may go before it does.
  struct Instantiated {
    tsl::core::WeakPtr<FunctionLibraryRuntime> library;
    Handles handles;
  };

  /// The functions, instantiated once in each library that this kernel is used with.
  Handles handles(const OpKernelContext& context) {
    FunctionLibraryRuntime& library = *context.function_library();
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = functions_.find(&library);
    // Another library may have been at this address.
    if (found != functions_.end() && found->second.library.GetNewRef() != nullptr) return found->second.handles;
    Handles handles;
    for (const auto* functions : {&attributes_->functions, &attributes_->trace_functions}) {
      for (const NameAttrList& function : *functions) {
        handles.push_back(instantiate(library, function, attributes_->jit_compile));
      }
    }
    functions_[&library] = {tsl::core::WeakPtr<FunctionLibraryRuntime>(&library), handles};
    return handles;
  }

  std::unique_ptr<const Attributes> attributes_;
  std::mutex mutex_;
  std::map<const FunctionLibraryRuntime*, Instantiated> functions_;
};

REGISTER_KERNEL_BUILDER(Name("TfminimizeMinimize").Device(tensorflow::DEVICE_CPU), MinimizeOp);

}  // namespace
}  // namespace tfminimize
