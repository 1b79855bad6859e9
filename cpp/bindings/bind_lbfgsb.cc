#include <pybind11/native_enum.h>

#include "bindings/solver.h"
#include "solvers/lbfgsb/lbfgsb.h"

namespace tfminimize::bindings {
namespace {

using PyLbfgsb = PySolverOf<solvers::Lbfgsb>;

py::tuple corrections(const PyLbfgsb& self) {
  const solvers::Lbfgsb& solver = self.look();
  const auto k = static_cast<py::ssize_t>(solver.num_corrections());
  const auto n = static_cast<py::ssize_t>(solver.size());
  py::array_t<double> s({k, n});
  py::array_t<double> y({k, n});
  solver.copy_corrections({s.mutable_data(), static_cast<std::size_t>(s.size())},
                          {y.mutable_data(), static_cast<std::size_t>(y.size())});
  return py::make_tuple(s, y);
}

void check_memory(std::size_t n, std::int64_t maxcor, const py::str& storage, std::size_t count, double beside) {
  solvers::Lbfgsb::check_memory(n, maxcor, parse_storage(py::str("storage"), storage), count, beside);
}

void register_status(py::module_& m) {
  py::native_enum<solvers::Status>(m, "Status", "enum.Enum", "How a solve ended, or that it has not.")
      .value("RUNNING", solvers::Status::kRunning)
      .value("GRADIENT_CONVERGED", solvers::Status::kGradientConverged)
      .value("FUNCTION_CONVERGED", solvers::Status::kFunctionConverged)
      .value("MAX_ITERATIONS", solvers::Status::kMaxIterations)
      .value("MAX_EVALUATIONS", solvers::Status::kMaxEvaluations)
      .value("MAX_TIME", solvers::Status::kMaxTime)
      .value("CALLER_STOPPED", solvers::Status::kCallerStopped)
      .value("LINE_SEARCH_FAILED", solvers::Status::kLineSearchFailed)
      .value("GRADIENT_MISMATCH", solvers::Status::kGradientMismatch)
      .value("NON_FINITE_START", solvers::Status::kNonFiniteStart)
      .value("UNBOUNDED_BELOW", solvers::Status::kUnboundedBelow)
      .value("DIVERGED", solvers::Status::kDiverged)
      .finalize();
}

}  // namespace

void register_lbfgsb(py::module_& m) {
  register_status(m);
  using Options = solvers::LbfgsbOptions;
  const OptionList<Options> options{
      {"maxcor", &Options::maxcor},   {"ftol", &Options::ftol},           {"gtol", &Options::gtol},
      {"maxfun", &Options::maxfun},   {"maxiter", &Options::maxiter},     {"maxls", &Options::maxls},
      {"maxtime", &Options::maxtime}, {"precision", &Options::precision}, {"storage", &Options::storage}};
  bind_solver<solvers::Lbfgsb>(m, "Lbfgsb",
                               "L-BFGS-B: limited-memory BFGS with bounds. It takes no constraints. "
                               "restart() cannot change maxcor and storage.",
                               options)
      .def_static("check_memory", &check_memory, py::arg("n"), py::arg("maxcor"), py::arg("storage") = "float64",
                  py::arg("count") = 1, py::arg("beside") = 0,
                  "Raises MemoryError if the memory does not suffice for `count` solvers of n variables, with their x "
                  "and gradients and `beside` bytes more for each.")
      .def("corrections", &corrections, "The correction pairs s, y as arrays [k, n], the oldest first.")
      .def_property_readonly("num_corrections", [](const PyLbfgsb& self) { return self.look().num_corrections(); });
}

}  // namespace tfminimize::bindings
