#include <pybind11/native_enum.h>

#include "bindings/arrays.h"
#include "bindings/solver.h"
#include "solvers/bfgs/bfgs.h"

namespace tfminimize::bindings {
namespace {

using PyBfgs = PySolverOf<solvers::Bfgs>;

constexpr std::pair<const char*, solvers::BfgsUpdate> kUpdates[] = {
    {"bfgs", solvers::BfgsUpdate::kBfgs},           {"dfp", solvers::BfgsUpdate::kDfp},
    {"ssbfgs", solvers::BfgsUpdate::kSsbfgs},       {"ssbfgs-ol", solvers::BfgsUpdate::kSsbfgsOrenLuenberger},
    {"ssbroyden", solvers::BfgsUpdate::kSsbroyden}, {"ssbroyden1", solvers::BfgsUpdate::kSsbroydenSr1},
};

py::array_t<double> inverse_hessian(const PyBfgs& self) {
  const solvers::Bfgs& solver = self.look();
  const auto n = static_cast<py::ssize_t>(solver.size());
  py::array_t<double> dense({n, n});
  solver.copy_inverse_hessian({dense.mutable_data(), static_cast<std::size_t>(dense.size())});
  return dense;
}

void set_inverse_hessian(PyBfgs& self, const py::array_t<double, py::array::c_style | py::array::forcecast>& dense) {
  self.change().set_inverse_hessian({dense.data(), static_cast<std::size_t>(dense.size())});
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
  for (const auto& [known, update] : kUpdates) {
    if (text == known) return update;
  }
  fail_option(name, value, "the name of an update, such as 'bfgs'");
}

void register_bfgs(py::module_& m) {
  register_status(m);
  using Options = solvers::BfgsOptions;
  const OptionList<Options> options{{"gtol", &Options::gtol},       {"norm", &Options::norm},
                                    {"xrtol", &Options::xrtol},     {"c1", &Options::c1},
                                    {"c2", &Options::c2},           {"maxiter", &Options::maxiter},
                                    {"update", &Options::update},   {"initial_scale", &Options::initial_scale},
                                    {"maxtime", &Options::maxtime}, {"precision", &Options::precision}};
  bind_solver<solvers::Bfgs>(m, "Bfgs", "BFGS and its self-scaled relatives. It takes no bounds and no constraints.",
                             options)
      .def_static("check_memory", &solvers::Bfgs::check_memory, py::arg("n"), py::arg("count") = 1,
                  py::arg("beside") = 0,
                  "Raises MemoryError if the memory does not suffice for `count` solvers of n variables, with their x "
                  "and gradients and `beside` bytes more for each.")
      .def("inverse_hessian", &inverse_hessian, "The inverse Hessian, an array [n, n].")
      .def("set_inverse_hessian", &set_inverse_hessian, py::arg("dense"),
           "Begins with this inverse Hessian, [n, n], of which it reads the lower triangle.")
      .def_property_readonly("num_skipped_updates",
                             [](const PyBfgs& self) { return self.look().num_skipped_updates(); })
      .def_property_readonly("num_resets", [](const PyBfgs& self) { return self.look().num_resets(); });
}

}  // namespace tfminimize::bindings
