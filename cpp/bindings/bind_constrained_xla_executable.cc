#include <pybind11/stl.h>

#include <utility>

#include "bindings/function_arguments.h"
#include "bindings/objective.h"
#include "bindings/xla_call.h"
#include "objectives/constrained_xla_executable.h"

namespace tfminimize {
namespace {

class PyConstrainedXlaExecutable final : public PyConstrainedObjective {
 public:
  PyConstrainedXlaExecutable(py::capsule context, const PyXlaCall& values, const PyXlaCall& derivatives,
                             const std::vector<Component>& components, const std::vector<ConstraintRow>& rows,
                             const ConstrainedOutputs& outputs)
      : context_(std::move(context)),
        function_(values.options(context_, "values: "), derivatives.options(context_, "derivatives: "), components,
                  outputs, rows) {}

  void check_rows(std::size_t m, Span<const double> offsets) const override {
    function_.rows().check_complete(m, offsets);
  }

  void set_input(std::size_t position, const py::object& tensor) {
    check_idle();
    function_.set_input(position, host_tensor(context_, tensor, "input " + std::to_string(position)));
  }

  void set_captured(std::size_t function, std::size_t position, const py::object& tensor) {
    check_idle();
    if (function > 1) throw py::value_error("function is " + std::to_string(function) + "; it must be 0 or 1.");
    function_.set_captured(function, position, host_tensor(context_, tensor, "input " + std::to_string(position)));
  }

  void set_rows(const std::vector<ConstraintRow>& rows) {
    check_idle();
    function_.set_rows(rows);
  }

 private:
  void with_exclusively(const py::array& /*x*/, const std::function<void(ConstrainedObjective&)>& use) override {
    use(function_);
  }

  py::capsule context_;
  ConstrainedXlaExecutable function_;
};

std::unique_ptr<PyConstrainedXlaExecutable> make_constrained_xla_executable(
    const py::capsule& context, const PyXlaCall& values, const PyXlaCall& derivatives,
    const std::vector<Component>& components, const std::vector<ConstraintRow>& rows, std::size_t num_values,
    const std::string& loss_dtype, const std::string& values_dtype) {
  return std::make_unique<PyConstrainedXlaExecutable>(
      context, values, derivatives, components, rows,
      ConstrainedOutputs{parse_dtype(loss_dtype, "loss_dtype"), parse_dtype(values_dtype, "values_dtype"), num_values});
}

}  // namespace

void register_constrained_xla_executable(py::module_& m) {
  py::class_<PyConstrainedXlaExecutable, PyConstrainedObjective>(
      m, "ConstrainedXlaExecutable", py::is_final(),
      "Machine code of XLA for two functions of the same components; what they return: see ConstrainedFunction.")
      .def(py::init(&make_constrained_xla_executable), py::arg("context"), py::arg("values"), py::arg("derivatives"),
           py::arg("components"), py::arg("rows"), py::kw_only(), py::arg("num_values"),
           py::arg("loss_dtype") = "float64", py::arg("values_dtype") = "float64")
      .def("set_input", &PyConstrainedXlaExecutable::set_input, py::arg("position"), py::arg("tensor"),
           "Passes both functions another tensor of the same dtype and size from now on.")
      .def("set_captured", &PyConstrainedXlaExecutable::set_captured, py::arg("function"), py::arg("position"),
           py::arg("tensor"), "The same for one of the functions, values (0) or derivatives (1).")
      .def("set_rows", &PyConstrainedXlaExecutable::set_rows, py::arg("rows"), "Makes other constraints from now on.");
}

}  // namespace tfminimize
