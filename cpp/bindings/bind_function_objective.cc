#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/call.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"
#include "bindings/tensorflow.h"
#include "objectives/function_objective.h"

namespace tfminimize::bindings {
namespace {

using Calls = std::vector<std::shared_ptr<PyCall>>;
/// TensorFlow's number of the dtype, NumPy's dtype, and the shape.
using ArraySpec = std::tuple<int, py::dtype, std::vector<std::int64_t>>;

std::vector<MakeFunction> makers(const py::capsule& context, const Calls& calls) {
  std::vector<MakeFunction> result;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (!calls[i]) throw py::type_error("calls[" + std::to_string(i) + "] is None; it must be a Call.");
    const char* const prefix = calls.size() == 1 ? "" : i == 0 ? "values: " : "derivatives: ";
    if (calls[i]->is_tensorflows() != calls.front()->is_tensorflows()) {
      throw py::value_error("The calls are of two kinds; give FunctionCalls or XlaCalls only.");
    }
    result.push_back(calls[i]->maker(context, prefix, {}));
  }
  return result;
}

class PyFunctionObjective final : public PyObjective {
 public:
  PyFunctionObjective(const py::capsule& context, const Calls& calls, const std::vector<Component>& components,
                      const FunctionOutputs& outputs, const std::vector<ConstraintRow>& rows,
                      std::vector<py::dtype> dtypes)
      : context_(context),
        dtypes_(std::move(dtypes)),
        core_(components, outputs, makers(context, calls), rows),
        call_(calls.front()) {}

  bool can_be_cancelled() const override { return call_->is_tensorflows(); }

  void check_rows(std::size_t m, Span<const double> offsets) const override { core_.rows().check_complete(m, offsets); }

  void set_input(std::size_t position, const py::object& tensor, std::optional<std::size_t> function) {
    if (function && *function >= core_.functions().size()) {
      throw py::value_error("function is " + std::to_string(*function) + ", and there are " +
                            std::to_string(core_.functions().size()) + ".");
    }
    const InputTensor input = call_->tensor(context_, tensor, "input " + std::to_string(position));
    check_idle();  // now, since another thread may begin a solve while tensor() waits without the GIL
    core_.set_input(position, input, function);
  }

  void set_rows(const std::vector<ConstraintRow>& rows) {
    check_idle();
    core_.set_rows(rows);
  }

  py::array_t<double> sums() const {
    const Span<const double> sums = core_.sums();
    return py::array_t<double>(static_cast<py::ssize_t>(sums.size()), sums.data());
  }

  py::list arrays() const {
    py::list result;
    for (const HostArray& array : core_.arrays()) {
      const py::dtype& dtype = dtypes_[result.size()];
      const py::array copy(dtype, array.shape, array.data);
      if (static_cast<std::size_t>(copy.nbytes()) != array.bytes) {
        throw py::value_error("Array " + std::to_string(result.size()) + " has " + std::to_string(array.bytes) +
                              " bytes, and its shape and dtype need " + std::to_string(copy.nbytes()) + ".");
      }
      result.append(copy);
    }
    return result;
  }

  py::tuple dispatch() {
    return for_each([](const CompiledFunction& function) { return function.way(); });
  }

  py::tuple repeat(const py::array& x, std::int64_t count) {
    if (count < 1) throw py::value_error("count is " + std::to_string(count) + "; it must be at least 1.");
    const Span<const double> at = x_span(x);
    const ObjectiveUse use(*this, x);
    core_.stage(at);
    return for_each([&](CompiledFunction& function) {
      double seconds = 0;
      without_gil([&] { seconds = function.repeat(at, count); });
      return seconds;
    });
  }

  py::tuple input_address(const py::array& x, std::size_t position) {
    const Span<const double> at = x_span(x);
    const ObjectiveUse use(*this, x);
    core_.stage(at);
    return for_each([&](CompiledFunction& function) {
      return reinterpret_cast<std::uintptr_t>(function.input_address(at, position));
    });
  }

 private:
  Objective& begin(const py::array& x) override {
    if (call_->is_tensorflows()) {
      wait_without_gil(context_);
      set_owner(keep_alive(x));
    }
    return core_;
  }

  void end() override {
    if (call_->is_tensorflows()) set_owner(nullptr);
  }

  void set_owner(const std::shared_ptr<const void>& owner) {
    for (const auto& function : core_.functions()) function->set_owner(owner);
  }

  static Span<const double> x_span(const py::array& x) { return vector_span<double>(x, "x", {true, false}); }

  /// Returns get(function) for each function.
  template <typename Get>
  py::tuple for_each(const Get& get) {
    py::list list;
    for (const auto& function : core_.functions()) list.append(get(*function));
    py::tuple result(list);
    return result;
  }

  py::capsule context_;
  std::vector<py::dtype> dtypes_;  ///< Of the arrays.
  FunctionObjective core_;
  std::shared_ptr<PyCall> call_;
};

py::tuple repeat(PyFunctionObjective& self, const py::array& x, std::int64_t count) { return self.repeat(x, count); }

void register_row(py::module_& m) {
  py::class_<ConstraintRow>(m, "Row", py::is_final(),
                            R"(How one constraint follows from the values that TensorFlow computes.

c[row] = sign * values[source] + offset; sign is 1 or -1. The row of the Jacobian is multiplied by sign too.)")
      .def(py::init<std::size_t, std::size_t, double, double>(), py::arg("row"), py::arg("source"),
           py::arg("sign") = 1.0, py::arg("offset") = 0.0)
      .def_readonly("row", &ConstraintRow::row)
      .def_readonly("source", &ConstraintRow::source)
      .def_readonly("sign", &ConstraintRow::sign)
      .def_readonly("offset", &ConstraintRow::offset);
}

}  // namespace

void register_function_objective(py::module_& m) {
  register_row(m);
  const auto make = [](const py::capsule& context, const Calls& calls, const std::vector<Component>& components,
                       const std::vector<ConstraintRow>& rows, std::size_t num_values, std::size_t num_sums,
                       const std::string& loss_dtype, const std::string& values_dtype,
                       const std::vector<ArraySpec>& arrays) {
    if (calls.empty()) throw py::value_error("calls is empty; it must hold one function, or two.");
    FunctionOutputs outputs{parse_dtype(loss_dtype, "loss_dtype"), parse_dtype(values_dtype, "values_dtype"),
                            num_values, num_sums};
    std::vector<py::dtype> dtypes;
    for (const auto& [tensor_dtype, dtype, shape] : arrays) {
      const std::string name = "array " + std::to_string(dtypes.size());
      outputs.arrays.push_back({name, static_cast<TF_DataType>(tensor_dtype), 0, true, shape});
      dtypes.push_back(dtype);
    }
    return std::make_unique<PyFunctionObjective>(context, calls, components, outputs, rows, std::move(dtypes));
  };
  py::class_<PyFunctionObjective, PyObjective> binding(
      m, "FunctionObjective", py::is_final(), R"(Compiled functions of the components of x: values and derivatives.

values:       loss (a scalar), the values behind the constraints (a vector [num_values]), the sums (float64 [num_sums]),
              arrays
derivatives:  loss, values, one gradient for each component, one Jacobian of the values for each component, sums, arrays

Gradients and Jacobians have the dtype of their component; a Jacobian has num_values rows, each as long as the
component. If num_values is 0, the functions return no values and no Jacobians, and the second function alone is enough.
If num_sums is 0, they return no sums. Each array is described by TensorFlow's number of its dtype, NumPy's dtype and
the shape, which counts for machine code only.
Constraints without a row are never written. Functions of _xla.compile() read x, and write float64 gradients, in
place.)");
  binding
      .def(py::init(make), py::arg("context"), py::arg("calls"), py::arg("components"),
           py::arg("rows") = std::vector<ConstraintRow>(), py::kw_only(), py::arg("num_values") = 0,
           py::arg("num_sums") = 0, py::arg("loss_dtype") = "float64", py::arg("values_dtype") = "float64",
           py::arg("arrays") = std::vector<ArraySpec>())
      .def_property_readonly("sums", &PyFunctionObjective::sums,
                             "A copy of the sums of the last evaluation: read it in a callback, or between solves.")
      .def("arrays", &PyFunctionObjective::arrays,
           "Copies of the arrays of the last evaluation of values: call it in on_evaluation.")
      .def_property_readonly("dispatch", &PyFunctionObjective::dispatch,
                             "How each function is called: 'function' or 'partitioned_call', whichever was faster so "
                             "far, or 'machine_code'.")
      .def(
          "set_input", &PyFunctionObjective::set_input, py::arg("position"), py::arg("tensor"),
          py::arg("function") = py::none(),
          "Passes another tensor of the same dtype and size from now on, to all functions or to the one at this index.")
      .def("set_rows", &PyFunctionObjective::set_rows, py::arg("rows"), "Replaces all rows.")
      .def("input_address", &PyFunctionObjective::input_address, py::arg("x"), py::arg("position"),
           "The address that each function reads its input at `position` from; the input must be a component.");
  add_plain_method(binding, "repeat", &repeat, {{{"self"}, {"x"}, {"count"}}},
                   "Seconds of one call of each function in a bare loop of `count` calls, to compare solves with.");
}

}  // namespace tfminimize::bindings
