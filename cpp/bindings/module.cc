#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace tfminimize::bindings {

void register_arrays(py::module_& m);
void register_background(py::module_& m);
void register_batch(py::module_& m);
void register_bfgs(py::module_& m);
void register_call(py::module_& m);
void register_component(py::module_& m);
void register_data_sum(py::module_& m);
void register_drive(py::module_& m);
void register_dual_active_set_qp(py::module_& m);
void register_fastest(py::module_& m);
void register_function_call(py::module_& m);
void register_function_objective(py::module_& m);
void register_host_objective(py::module_& m);
void register_lbfgsb(py::module_& m);
void register_objective(py::module_& m);
void register_reduced(py::module_& m);
void register_side_thread(py::module_& m);
void register_slsqp(py::module_& m);
void register_solver(py::module_& m);
void register_tensorflow(py::module_& m);
void register_threads(py::module_& m);
void register_vector_objective(py::module_& m);
void register_xla_call(py::module_& m);

}  // namespace tfminimize::bindings

PYBIND11_MODULE(_native, m) {
  m.doc() = "The C++ part of tfminimize.";
  tfminimize::bindings::register_arrays(m);
  tfminimize::bindings::register_tensorflow(m);
  tfminimize::bindings::register_solver(m);
  tfminimize::bindings::register_lbfgsb(m);
  tfminimize::bindings::register_slsqp(m);
  tfminimize::bindings::register_bfgs(m);
  tfminimize::bindings::register_dual_active_set_qp(m);
  tfminimize::bindings::register_objective(m);
  tfminimize::bindings::register_host_objective(m);
  tfminimize::bindings::register_component(m);
  tfminimize::bindings::register_call(m);
  tfminimize::bindings::register_function_call(m);
  tfminimize::bindings::register_xla_call(m);
  tfminimize::bindings::register_function_objective(m);
  tfminimize::bindings::register_data_sum(m);
  tfminimize::bindings::register_fastest(m);
  tfminimize::bindings::register_vector_objective(m);
  tfminimize::bindings::register_side_thread(m);
  tfminimize::bindings::register_reduced(m);
  tfminimize::bindings::register_drive(m);
  tfminimize::bindings::register_batch(m);
  tfminimize::bindings::register_threads(m);
  tfminimize::bindings::register_background(m);
}
