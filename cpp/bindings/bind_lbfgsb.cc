#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/lbfgsb.h"

namespace tfminimize {
namespace {

solvers::Lbfgsb make_core(const SolverArrays& arrays, const solvers::LbfgsbOptions& options) {
  const Span<double> x = vector_span<double>(arrays.x, "x");
  const Span<double> gradient = vector_span<double>(arrays.gradient, "gradient");
  return {x, gradient, optional_span(arrays.lower, "lower", x.size(), "x"),
          optional_span(arrays.upper, "upper", x.size(), "x"), options};
}

solvers::LbfgsbOptions make_options(std::int64_t maxcor, double ftol, double gtol, std::int64_t maxfun,
                                    std::int64_t maxiter, std::int64_t maxls, double precision) {
  solvers::LbfgsbOptions options;
  options.maxcor = maxcor;
  options.ftol = ftol;
  options.gtol = gtol;
  options.maxfun = maxfun;
  options.maxiter = maxiter;
  options.maxls = maxls;
  options.precision = precision;
  return options;
}

std::unique_ptr<PyLbfgsb> make_lbfgsb(py::array x, py::array gradient, std::optional<py::array> lower,
                                      std::optional<py::array> upper, std::int64_t maxcor, double ftol, double gtol,
                                      std::int64_t maxfun, std::int64_t maxiter, std::int64_t maxls, double precision) {
  const SolverArrays arrays{std::move(x), std::move(gradient), std::move(lower), std::move(upper)};
  return std::make_unique<PyLbfgsb>(arrays, make_options(maxcor, ftol, gtol, maxfun, maxiter, maxls, precision));
}

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

void register_enums(py::module_& m) {
  py::native_enum<solvers::Request>(m, "Request", "enum.Enum", "What a solver needs before it can go on.")
      .value("EVALUATE", solvers::Request::kEvaluate)
      .value("DERIVATIVES", solvers::Request::kDerivatives)
      .value("ITERATION", solvers::Request::kIteration)
      .value("STOPPED", solvers::Request::kStopped)
      .finalize();
  py::native_enum<solvers::Status>(m, "Status", "enum.Enum", "How a solve ended, or that it has not.")
      .value("RUNNING", solvers::Status::kRunning)
      .value("GRADIENT_CONVERGED", solvers::Status::kGradientConverged)
      .value("FUNCTION_CONVERGED", solvers::Status::kFunctionConverged)
      .value("MAX_ITERATIONS", solvers::Status::kMaxIterations)
      .value("MAX_EVALUATIONS", solvers::Status::kMaxEvaluations)
      .value("CALLER_STOPPED", solvers::Status::kCallerStopped)
      .value("LINE_SEARCH_FAILED", solvers::Status::kLineSearchFailed)
      .value("GRADIENT_MISMATCH", solvers::Status::kGradientMismatch)
      .value("NON_FINITE_START", solvers::Status::kNonFiniteStart)
      .value("UNBOUNDED_BELOW", solvers::Status::kUnboundedBelow)
      .value("DIVERGED", solvers::Status::kDiverged)
      .finalize();
}

}  // namespace

PyLbfgsb::PyLbfgsb(const SolverArrays& arrays, const solvers::LbfgsbOptions& options)
    : PySolver(make_core(arrays, options), arrays),
      x_span_(vector_span<double>(x(), "x")),
      gradient_span_(vector_span<double>(gradient(), "gradient")) {}

void register_lbfgsb(py::module_& m) {
  register_enums(m);
  const solvers::LbfgsbOptions defaults;
  py::class_<PyLbfgsb> binding(m, "Lbfgsb", py::is_final(),
                               R"(Limited-memory BFGS with bounds, by reverse communication.

It works on the arrays that it is given: float64; x and gradient also 64-byte aligned, writeable and of the same size.
x is projected into the bounds at once. While drive() runs with it, it can be read in the callback only, and not be
changed (RuntimeError).)");
  binding
      .def(py::init(&make_lbfgsb), py::arg("x"), py::arg("gradient"), py::arg("lower") = py::none(),
           py::arg("upper") = py::none(), py::kw_only(), py::arg("maxcor") = defaults.maxcor,
           py::arg("ftol") = defaults.ftol, py::arg("gtol") = defaults.gtol, py::arg("maxfun") = defaults.maxfun,
           py::arg("maxiter") = defaults.maxiter, py::arg("maxls") = defaults.maxls,
           py::arg("precision") = defaults.precision)
      .def(
          "advance", [](PyLbfgsb& self, double f) { return self.advancing().advance(f); }, py::arg("f"),
          "Goes on as far as it can; f is the value at x after EVALUATE.")
      .def(
          "restart",
          [](PyLbfgsb& self, std::int64_t maxcor, double ftol, double gtol, std::int64_t maxfun, std::int64_t maxiter,
             std::int64_t maxls, double precision) {
            self.change().restart(make_options(maxcor, ftol, gtol, maxfun, maxiter, maxls, precision));
          },
          py::kw_only(), py::arg("maxcor") = defaults.maxcor, py::arg("ftol") = defaults.ftol,
          py::arg("gtol") = defaults.gtol, py::arg("maxfun") = defaults.maxfun, py::arg("maxiter") = defaults.maxiter,
          py::arg("maxls") = defaults.maxls, py::arg("precision") = defaults.precision,
          "Begins anew at what x holds, as a new solver with these options would; maxcor must stay.")
      .def_static("check_memory", &solvers::Lbfgsb::check_memory, py::arg("n"), py::arg("maxcor"), py::arg("count") = 1,
                  "Raises MemoryError if the machine has no room for so many solvers of n variables.")
      .def("corrections", &corrections, "The correction pairs s, y as arrays [k, n], the oldest first.")
      .def_property_readonly("num_corrections", [](const PyLbfgsb& self) { return self.look().num_corrections(); });
  define_solver(binding);
}

}  // namespace tfminimize
