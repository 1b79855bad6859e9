#include "ops/function_library.h"

#include <algorithm>

#include "absl/synchronization/notification.h"

namespace tfminimize {
namespace {

using tensorflow::Tensor;

/// Writes elements of x into a tensor, into memory that nobody else holds.
void write(Span<const double> x, const tensorflow::TensorShape& shape, Tensor& tensor) {
  if (!tensor.RefCountIsOne()) tensor = Tensor(tensor.dtype(), shape);
  if (tensor.dtype() == tensorflow::DT_FLOAT) {
    std::transform(x.begin(), x.end(), tensor.flat<float>().data(), [](double v) { return static_cast<float>(v); });
  } else {
    std::copy(x.begin(), x.end(), tensor.flat<double>().data());
  }
}

void copy(Span<const double> from, double* to) { std::copy(from.begin(), from.end(), to); }

/// Calls a function of a scalar, which is returned, and a vector, which is written.
double evaluate_pair(LibraryFunction& function, FunctionInputs& inputs, Span<const double> x, Span<double> vector) {
  inputs.set(x);
  function.call(inputs.tensors());
  const double f = function.doubles(0, 1)[0];
  copy(function.doubles(1, vector.size()), vector.data());
  function.forget();
  return f;
}

}  // namespace

FunctionInputs::FunctionInputs(tensorflow::OpKernelContext& context, std::size_t size, std::vector<Tensor> captures,
                               const std::vector<VariableComponent>& variables)
    : resources_(*context.resource_manager()), tensors_(std::move(captures)) {
  for (const VariableComponent& component : variables) {
    tensorflow::TensorShape shape;
    component.shape.AsTensorShape(&shape);
    // XLA finds a variable by its name only; no two of these objects have the same address.
    const std::string name =
        absl::StrCat("tfminimize/", absl::Hex(reinterpret_cast<std::uintptr_t>(this)), "/", stand_ins_.size());
    const auto handle = tensorflow::MakeResourceHandle<tensorflow::Var>(
        &context, "", name, {tensorflow::DtypeAndPartialTensorShape{component.dtype, component.shape}});
    auto* variable = new tensorflow::Var(component.dtype);  // NOLINT: counts its references itself
    stand_ins_.push_back({tsl::core::GetNewRef(variable), handle, component.offset, shape});
    check(tensorflow::CreateResource(&context, handle, variable));
    Tensor tensor(tensorflow::DT_RESOURCE, {});
    tensor.scalar<tensorflow::ResourceHandle>()() = handle;
    tensors_.at(component.capture) = std::move(tensor);
  }
  tensors_.insert(tensors_.begin(), Tensor(tensorflow::DT_DOUBLE, {static_cast<std::int64_t>(size)}));
}

FunctionInputs::~FunctionInputs() {
  for (const StandIn& s : stand_ins_) resources_.Delete(s.handle).IgnoreError();
}

void FunctionInputs::set(Span<const double> x) {
  write(x, tensors_[0].shape(), tensors_[0]);
  for (const StandIn& s : stand_ins_) {
    write({x.data() + s.offset, static_cast<std::size_t>(s.shape.num_elements())}, s.shape, *s.variable->tensor());
    s.variable->is_initialized = true;
  }
}

LibraryFunction::LibraryFunction(const tensorflow::OpKernelContext& context,
                                 tensorflow::FunctionLibraryRuntime::Handle handle,
                                 tensorflow::CancellationManager& cancellation)
    : library_(context.function_library()),
      handle_(handle),
      run_here_([](const std::function<void()>& closure) { closure(); }) {
  options_.cancellation_manager = &cancellation;
  options_.collective_executor = context.collective_executor();
  options_.step_container = context.step_container();
  options_.runner = &run_here_;
  options_.run_all_kernels_inline = true;
  options_.create_rendezvous = true;
}

const std::vector<Tensor>& LibraryFunction::call(const std::vector<Tensor>& inputs) {
  results_.clear();
  absl::Status status;
  absl::Notification done;  // given before Run() returns, but for operations that have threads of their own
  library_->Run(options_, handle_, inputs, &results_, [&](const absl::Status& result) {
    status = result;
    done.Notify();
  });
  done.WaitForNotification();
  check(std::move(status));
  return results_;
}

Span<const double> LibraryFunction::doubles(std::size_t i, std::size_t size) const {
  if (i >= results_.size() || results_[i].dtype() != tensorflow::DT_DOUBLE ||
      static_cast<std::size_t>(results_[i].NumElements()) != size) {
    const std::string found = i < results_.size() ? results_[i].DebugString(0) : "missing";
    fail("Result ", i, " of a function must be float64 with ", size, " elements, but is ", found, ".");
  }
  return {results_[i].flat<double>().data(), size};
}

double FunctionLibraryObjective::evaluate(Span<const double> x, Span<double> g) {
  return evaluate_pair(function_, inputs_, x, g);
}

double ConstrainedFunctionLibraryObjective::evaluate_values(Span<const double> x, Span<double> c) {
  return evaluate_pair(values_, inputs_, x, c);
}

void ConstrainedFunctionLibraryObjective::evaluate_derivatives(Span<const double> x, const Derivatives& derivatives) {
  evaluate(x, {}, derivatives);
}

double ConstrainedFunctionLibraryObjective::evaluate(Span<const double> x, Span<double> c,
                                                     const Derivatives& derivatives) {
  const std::size_t n = x.size();
  const std::size_t m = derivatives.jacobian.size() / derivatives.stride;
  inputs_.set(x);
  derivatives_.call(inputs_.tensors());
  const double f = derivatives_.doubles(0, 1)[0];
  if (!c.empty()) copy(derivatives_.doubles(1, m), c.data());
  copy(derivatives_.doubles(2, n), derivatives.gradient.data());
  const Span<const double> jacobian = derivatives_.doubles(3, m * n);
  for (std::size_t i = 0; i < m; ++i) {
    copy({jacobian.data() + i * n, n}, derivatives.jacobian.data() + i * derivatives.stride);
  }
  derivatives_.forget();
  return f;
}

}  // namespace tfminimize
