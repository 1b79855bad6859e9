#include <pybind11/native_enum.h>

#include "bindings/arrays.h"
#include "bindings/solver.h"
#include "solvers/bfgs/bfgs.h"

namespace tfminimize::bindings {
namespace {

using PyBfgs = PySolverOf<solvers::Bfgs>;

py::array_t<double> inverse_hessian(const PyBfgs& self) {
  const solvers::Bfgs& solver = self.look();
  const auto n = static_cast<py::ssize_t>(solver.size());
  py::array_t<double> dense({n, n});
  solver.copy_inverse_hessian({dense.mutable_data(), static_cast<std::size_t>(dense.size())});
  return dense;
}

void register_status(py::module_& m) {
  using solvers::BfgsStatus;
  py::native_enum<BfgsStatus>(m, "BfgsStatus", "enum.Enum", "How a solve by Bfgs ended, or that it has not.")
      .value("RUNNING", BfgsStatus::kRunning)
      .value("GRADIENT_CONVERGED", BfgsStatus::kGradientConverged)
      .value("STEP_CONVERGED", BfgsStatus::kStepConverged)
      .value("MAX_ITERATIONS", BfgsStatus::kMaxIterations)
      .value("MAX_TIME", BfgsStatus::kMaxTime)
      .value("PRECISION_LOSS", BfgsStatus::kPrecisionLoss)
      .value("GRADIENT_MISMATCH", BfgsStatus::kGradientMismatch)
      .value("UNBOUNDED_BELOW", BfgsStatus::kUnboundedBelow)
      .value("NAN", BfgsStatus::kNan)
      .value("INFINITE_START", BfgsStatus::kInfiniteStart)
      .value("CALLER_STOPPED", BfgsStatus::kCallerStopped)
      .finalize();
}

}  // namespace

solvers::BfgsUpdate parse_update(const py::handle& name, const py::handle& value) {
  const std::string text = py::isinstance<py::str>(value) ? value.cast<std::string>() : "";
  if (const auto update = solvers::bfgs_update_named(text)) return *update;
  fail_option(name, value, "the name of an update, such as 'bfgs'");
}

solvers::DenseMatrix parse_matrix(const py::handle& name, const py::handle& value) {
  if (value.is_none()) return {};
  using Matrix = py::array_t<double, py::array::c_style>;
  if (!Matrix::check_(value) || py::cast<Matrix>(value).ndim() != 2) fail_option(name, value, "a matrix of float64");
  auto matrix = std::make_unique<Matrix>(py::cast<Matrix>(value));
  const auto rows = static_cast<std::size_t>(matrix->shape(0));
  const auto columns = static_cast<std::size_t>(matrix->shape(1));
  const double* data = matrix->data();
  // Whoever frees the last copy may not hold the GIL.
  const std::shared_ptr<Matrix> owner(matrix.release(), [](Matrix* last) {
    const py::gil_scoped_acquire gil;
    delete last;
  });
  return {std::shared_ptr<const double>(owner, data), rows, columns};
}

void register_bfgs(py::module_& m) {
  register_status(m);
  using Options = solvers::BfgsOptions;
  const OptionList<Options> options{{"gtol", &Options::gtol},
                                    {"norm", &Options::norm},
                                    {"xrtol", &Options::xrtol},
                                    {"c1", &Options::c1},
                                    {"c2", &Options::c2},
                                    {"maxiter", &Options::maxiter},
                                    {"hess_inv0", &Options::hess_inv0},
                                    {"update", &Options::update},
                                    {"initial_scale", &Options::initial_scale},
                                    {"maxtime", &Options::maxtime},
                                    {"precision", &Options::precision}};
  bind_solver<solvers::Bfgs>(m, "Bfgs", "BFGS and its self-scaled relatives. It takes no bounds and no constraints.",
                             options)
      .def_static("check_memory", &solvers::Bfgs::check_memory, py::arg("n"), py::arg("count") = 1,
                  py::arg("beside") = 0,
                  "Raises MemoryError if the memory does not suffice for `count` solvers of n variables, with their x "
                  "and gradients and `beside` bytes more for each.")
      .def("inverse_hessian", &inverse_hessian, "The inverse Hessian, an array [n, n].")
      .def_property_readonly("num_skipped_updates",
                             [](const PyBfgs& self) { return self.look().num_skipped_updates(); })
      .def_property_readonly("num_resets", [](const PyBfgs& self) { return self.look().num_resets(); });
}

}  // namespace tfminimize::bindings
