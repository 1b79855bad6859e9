#include <pybind11/stl.h>

#include <utility>

#include "bindings/arrays.h"
#include "bindings/function_arguments.h"
#include "bindings/gil.h"
#include "bindings/objective.h"
#include "bindings/xla_call.h"
#include "objectives/xla_executable.h"

namespace tfminimize {
namespace {

class PyXlaExecutable final : public PyObjective {
 public:
  PyXlaExecutable(py::capsule context, const PyXlaCall& call, const std::vector<Component>& components,
                  const std::string& loss_dtype)
      : context_(std::move(context)),
        function_(call.options(context_), components, parse_dtype(loss_dtype, "loss_dtype")) {}

  void set_input(std::size_t position, const py::object& tensor) {
    check_idle();
    function_.set_input(position, host_tensor(context_, tensor, "input " + std::to_string(position)));
  }

  double repeat(const py::array& x, const py::array& g, std::int64_t count) {
    const Span<const double> x_span = vector_span<double>(x, "x", {true, false});
    const Span<double> g_span = vector_span<double>(g, "g");
    if (count < 1) throw py::value_error("count is " + std::to_string(count) + "; it must be at least 1.");
    double seconds = 0;
    with(x, [&](Objective& /*function_*/) {
      const GilReleased no_gil;
      seconds = function_.repeat(x_span, g_span, count);
    });
    return seconds;
  }

  std::uintptr_t input_address(const py::array& x, std::size_t position) const {
    const Span<const double> x_span = vector_span<double>(x, "x", {true, false});
    return reinterpret_cast<std::uintptr_t>(function_.input_address(x_span, position));
  }

 private:
  void with_exclusively(const py::array& /*x*/, const std::function<void(Objective&)>& use) override { use(function_); }

  py::capsule context_;
  XlaExecutable function_;
};

}  // namespace

void register_xla_executable(py::module_& m) {
  py::class_<PyXlaExecutable, PyObjective>(m, "XlaExecutable", py::is_final(),
                                           "Machine code of XLA that returns the loss, a scalar, and a gradient for "
                                           "each component. Its inputs: see XlaCall.")
      .def(py::init<py::capsule, const PyXlaCall&, const std::vector<Component>&, const std::string&>(),
           py::arg("context"), py::arg("call"), py::arg("components"), py::kw_only(), py::arg("loss_dtype") = "float64")
      .def("set_input", &PyXlaExecutable::set_input, py::arg("position"), py::arg("tensor"),
           "Passes another tensor of the same dtype and size from now on.")
      .def("repeat", &PyXlaExecutable::repeat, py::arg("x"), py::arg("g"), py::arg("count"),
           "Seconds of one evaluation in a bare loop of `count`: what a solve is measured by.")
      .def("input_address", &PyXlaExecutable::input_address, py::arg("x"), py::arg("position"),
           "The address that the program reads for the input at `position`.");
}

}  // namespace tfminimize
