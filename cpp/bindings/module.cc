#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace tfminimize {

void register_arrays(py::module_& m);
void register_batch(py::module_& m);
void register_concrete_function(py::module_& m);
void register_constrained_function(py::module_& m);
void register_constrained_host_function(py::module_& m);
void register_constrained_objective(py::module_& m);
void register_constrained_xla_executable(py::module_& m);
void register_drive(py::module_& m);
void register_dual_active_set_qp(py::module_& m);
void register_function_call(py::module_& m);
void register_host_function(py::module_& m);
void register_lbfgsb(py::module_& m);
void register_objective(py::module_& m);
void register_slsqp(py::module_& m);
void register_tensorflow(py::module_& m);
void register_xla_call(py::module_& m);
void register_xla_executable(py::module_& m);

}  // namespace tfminimize

PYBIND11_MODULE(_native, m) {
  m.doc() = "The C++ part of tfminimize.";
  tfminimize::register_arrays(m);
  tfminimize::register_tensorflow(m);
  tfminimize::register_lbfgsb(m);
  tfminimize::register_slsqp(m);
  tfminimize::register_dual_active_set_qp(m);
  tfminimize::register_objective(m);
  tfminimize::register_host_function(m);
  tfminimize::register_function_call(m);
  tfminimize::register_concrete_function(m);
  tfminimize::register_constrained_objective(m);
  tfminimize::register_constrained_host_function(m);
  tfminimize::register_constrained_function(m);
  tfminimize::register_xla_call(m);
  tfminimize::register_xla_executable(m);
  tfminimize::register_constrained_xla_executable(m);
  tfminimize::register_drive(m);
  tfminimize::register_batch(m);
}
