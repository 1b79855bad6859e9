#include "ops/function_library.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "ops/nested.h"

namespace tfminimize {
namespace {

using tensorflow::Tensor;

/// Writes x into a tensor of this dtype and shape. Makes a new tensor if somebody else holds the memory, or if a
/// function has assigned a tensor of another kind to the variable.
void write(Span<const double> x, tensorflow::DataType dtype, const tensorflow::TensorShape& shape, Tensor& tensor) {
  if (!tensor.RefCountIsOne() || tensor.dtype() != dtype || tensor.shape() != shape) tensor = Tensor(dtype, shape);
  if (dtype == tensorflow::DT_FLOAT) {
    std::transform(x.begin(), x.end(), tensor.flat<float>().data(), [](double v) { return static_cast<float>(v); });
  } else {
    std::copy(x.begin(), x.end(), tensor.flat<double>().data());
  }
}

/// Throws if the handle knows of a variable with another dtype or shape.
void check_handle(const tensorflow::ResourceHandle& handle, const VariableComponent& component) {
  for (const tensorflow::DtypeAndPartialTensorShape& known : handle.dtypes_and_shapes()) {
    if (known.dtype == component.dtype && known.shape.IsCompatibleWith(component.shape)) continue;
    fail("captures[", component.capture, "] is the handle of a ", tensorflow::DataTypeString(known.dtype),
         " variable of shape ", known.shape.DebugString(), ", but variable_dtypes and variable_shapes say ",
         tensorflow::DataTypeString(component.dtype), " and ", component.shape.DebugString(), ".");
  }
}

}  // namespace

FunctionInputs::StandIn::StandIn(tensorflow::OpKernelContext& context, const std::string& name,
                                 const VariableComponent& component)
    : resources(*context.resource_manager()),
      variable(new tensorflow::Var(component.dtype)),
      handle(tensorflow::MakeResourceHandle<tensorflow::Var>(
          &context, "", name, {tensorflow::DtypeAndPartialTensorShape{component.dtype, component.shape}})),
      offset(component.offset),
      dtype(component.dtype) {
  component.shape.AsTensorShape(&shape);
  variable->Ref();  // for the manager
  check(tensorflow::CreateResource(&context, handle, variable.get()));
}

FunctionInputs::StandIn::~StandIn() { resources.Delete(handle).IgnoreError(); }

FunctionInputs::FunctionInputs(tensorflow::OpKernelContext& context, std::size_t size, const Captures& captures)
    : tensors_(captures.tensors) {
  for (const VariableComponent& component : captures.variables) {
    Tensor& tensor = tensors_.at(static_cast<std::size_t>(component.capture));
    if (tensor.NumElements() != 1) {
      fail("captures[", component.capture, "] has shape ", tensor.shape().DebugString(),
           ": it must be the handle of one variable.");
    }
    check_handle(tensor.flat<tensorflow::ResourceHandle>()(0), component);
    // XLA finds a variable only by its name. The address makes the name unique.
    const std::string name =
        absl::StrCat("tfminimize/", absl::Hex(reinterpret_cast<std::uintptr_t>(this)), "/", stand_ins_.size());
    stand_ins_.emplace_back(context, name, component);
    tensor = Tensor(tensorflow::DT_RESOURCE, {});
    tensor.scalar<tensorflow::ResourceHandle>()() = stand_ins_.back().handle;
  }
  tensors_.insert(tensors_.begin(), Tensor(tensorflow::DT_DOUBLE, {static_cast<std::int64_t>(size)}));
}

void FunctionInputs::set(Span<const double> x) {
  write(x, tensorflow::DT_DOUBLE, tensors_[0].shape(), tensors_[0]);
  for (const StandIn& s : stand_ins_) {
    const Span<const double> own{x.data() + s.offset, static_cast<std::size_t>(s.shape.num_elements())};
    write(own, s.dtype, s.shape, *s.variable->tensor());
    s.variable->is_initialized = true;
  }
}

void FunctionInputs::select(const std::vector<BatchedInput>& inputs, std::size_t problem) {
  for (const BatchedInput& input : inputs) {
    Tensor& tensor = tensors_.at(input.position);
    if (!tensor.RefCountIsOne()) tensor = Tensor(tensor.dtype(), tensor.shape());
    if (input.bytes > 0) std::memcpy(tensor.data(), input.value(problem), input.bytes);
  }
}

LibraryFunction::LibraryFunction(const tensorflow::OpKernelContext& context,
                                 tensorflow::FunctionLibraryRuntime::Handle handle,
                                 tensorflow::CancellationManager& cancellation, std::string name)
    : library_(context.function_library()),
      handle_(handle),
      run_here_([](const std::function<void()>& closure) { closure(); }),
      name_(std::move(name)),
      depth_(Nested::depth()) {
  options_.cancellation_manager = &cancellation;
  options_.collective_executor = context.collective_executor();
  options_.step_container = context.step_container();
  options_.runner = &run_here_;
  options_.run_all_kernels_inline = true;
  options_.create_rendezvous = true;
}

const std::vector<Tensor>& LibraryFunction::call(const std::vector<Tensor>& inputs) {
  const Nested same(depth_);
  results_.clear();
  absl::Status status;
  absl::Notification done;  // set before Run() returns, unless operations use threads of their own
  library_->Run(options_, handle_, inputs, &results_, [&](const absl::Status& result) {
    status = result;
    done.Notify();
  });
  done.WaitForNotification();
  check(std::move(status));
  return results_;
}

Span<const double> LibraryFunction::doubles(std::size_t i, const std::vector<std::size_t>& shape) const {
  const Tensor& result = results_[i];
  bool fits = static_cast<std::size_t>(result.dims()) == shape.size();
  std::size_t size = 1;
  int axis = 0;
  for (const std::size_t dimension : shape) {
    fits = fits && static_cast<std::size_t>(result.dim_size(axis++)) == dimension;
    size *= dimension;
  }
  if (!fits) {
    fail(name_, " returned result ", i, " of shape ", result.shape().DebugString(), ": it must be [",
         absl::StrJoin(shape, ","), "].");
  }
  return {result.flat<double>().data(), size};
}

void FunctionLibrary::run(Span<const double> x) {
  inputs_.set(x);
  function_.call(inputs_.tensors());
  std::size_t found = 0;
  try {
    for (std::size_t i = 0; i < shapes_.size(); ++i) {
      const Span<const double> result = function_.doubles(i, shapes_[i]);
      if (!result.empty()) results_.at(found++) = result.data();
    }
  } catch (...) {
    function_.forget();
    throw;
  }
}

}  // namespace tfminimize
