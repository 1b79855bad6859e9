#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/slsqp.h"

namespace tfminimize {
namespace {

/// A number of things, of which there are `limit`, as Python passes it.
std::size_t to_count(std::int64_t value, const std::string& name, std::size_t limit, const char* counted) {
  if (value < 0 || static_cast<std::uint64_t>(value) > limit) {
    throw py::value_error(name + " is " + std::to_string(value) + "; it must be from 0 to the number of " + counted +
                          ", " + std::to_string(limit) + ".");
  }
  return static_cast<std::size_t>(value);
}

solvers::SlsqpOptions make_options(double ftol, std::int64_t maxiter, double precision) {
  solvers::SlsqpOptions options;
  options.ftol = ftol;
  options.maxiter = maxiter;
  options.precision = precision;
  return options;
}

/// The memory of the arrays as the solver takes it.
solvers::SlsqpProblem make_problem(const SolverArrays& arrays, const ConstraintArrays& constraint_arrays,
                                   std::int64_t num_equalities, std::int64_t num_variables) {
  solvers::SlsqpProblem problem;
  problem.x = vector_span<double>(arrays.x, "x");
  const std::size_t n = problem.x.size();
  problem.gradient = vector_span<double>(arrays.gradient, "gradient", {false, true});
  if (problem.gradient.size() != n) throw py::value_error("gradient and x must have the same size.");
  problem.constraints = vector_span<double>(constraint_arrays.constraints, "constraints", {false, true});
  const std::size_t m = problem.constraints.size();
  problem.jacobian = matrix_span(constraint_arrays.jacobian, "jacobian", m, solvers::SlsqpProblem::stride(n));
  problem.num_equalities = to_count(num_equalities, "num_equalities", m, "constraints");
  problem.lower = optional_span(arrays.lower, "lower", n, "x");
  problem.upper = optional_span(arrays.upper, "upper", n, "x");
  problem.offsets = optional_span(constraint_arrays.offsets, "offsets", m, "constraints");
  problem.num_variables = to_count(num_variables, "num_variables", n, "variables");
  return problem;
}

std::unique_ptr<PySlsqp> make_slsqp(py::array x, py::array gradient, py::array constraints, py::array jacobian,
                                    std::int64_t num_equalities, std::optional<py::array> lower,
                                    std::optional<py::array> upper, std::optional<py::array> offsets,
                                    std::int64_t num_variables, double ftol, std::int64_t maxiter, double precision) {
  SolverArrays arrays{std::move(x), std::move(gradient), std::move(lower), std::move(upper)};
  ConstraintArrays constraint_arrays{std::move(constraints), std::move(jacobian), std::move(offsets)};
  const solvers::SlsqpProblem problem = make_problem(arrays, constraint_arrays, num_equalities, num_variables);
  return std::make_unique<PySlsqp>(std::move(arrays), std::move(constraint_arrays), problem,
                                   make_options(ftol, maxiter, precision));
}

py::array_t<double> multipliers(const PySlsqp& self) {
  const Span<const double> span = self.look().multipliers();
  py::array_t<double> array(static_cast<py::ssize_t>(span.size()));
  std::copy(span.begin(), span.end(), array.mutable_data());
  return array;
}

void register_status(py::module_& m) {
  py::native_enum<solvers::SlsqpStatus>(m, "SlsqpStatus", "enum.Enum",
                                        "How a solve by Slsqp ended, or that it has not.")
      .value("RUNNING", solvers::SlsqpStatus::kRunning)
      .value("CONVERGED", solvers::SlsqpStatus::kConverged)
      .value("TOO_MANY_EQUALITIES", solvers::SlsqpStatus::kTooManyEqualities)
      .value("SUBPROBLEM_LIMIT", solvers::SlsqpStatus::kSubproblemLimit)
      .value("INCONSISTENT", solvers::SlsqpStatus::kInconsistent)
      .value("SINGULAR_EQUALITIES", solvers::SlsqpStatus::kSingularEqualities)
      .value("NO_DESCENT", solvers::SlsqpStatus::kNoDescent)
      .value("MAX_ITERATIONS", solvers::SlsqpStatus::kMaxIterations)
      .value("CALLER_STOPPED", solvers::SlsqpStatus::kCallerStopped)
      .value("NON_FINITE_START", solvers::SlsqpStatus::kNonFiniteStart)
      .value("NON_FINITE_DERIVATIVES", solvers::SlsqpStatus::kNonFiniteDerivatives)
      .value("NON_FINITE_SEARCH", solvers::SlsqpStatus::kNonFiniteSearch)
      .value("UNBOUNDED_BELOW", solvers::SlsqpStatus::kUnboundedBelow)
      .value("GRADIENT_MISMATCH", solvers::SlsqpStatus::kGradientMismatch)
      .finalize();
}

}  // namespace

PySlsqp::PySlsqp(SolverArrays arrays, ConstraintArrays constraint_arrays, const solvers::SlsqpProblem& problem,
                 const solvers::SlsqpOptions& options)
    : PySolver(solvers::Slsqp(problem, options), std::move(arrays)),
      constraint_arrays_(std::move(constraint_arrays)),
      problem_(problem) {}

void register_slsqp(py::module_& m) {
  register_status(m);
  const solvers::SlsqpOptions defaults;
  py::class_<PySlsqp> binding(m, "Slsqp", py::is_final(),
                              R"(Sequential least squares programming, by reverse communication.

It minimises f(x) subject to c_i(x) = 0 for i < num_equalities, c_i(x) >= 0 for the others, and the bounds, and works on
the arrays that it is given, all float64: x, gradient [n]; constraints [m]; jacobian [m, stride] with stride = n rounded
up to a multiple of 8, of which the first n columns are used; lower, upper [n]; offsets [m]. x and jacobian are 64-byte
aligned. x is projected into the bounds at once.

Where offsets is not NaN, the constraint is linear, c_i = jacobian[i] @ x + offsets[i]: its row is filled in before, the
solver computes c_i itself, and nobody else writes to either. num_variables: how many of the n are no padding; 0 for
all. While drive() runs with it, it can be read in the callback only, and not be changed (RuntimeError).)");
  binding
      .def(py::init(&make_slsqp), py::arg("x"), py::arg("gradient"), py::arg("constraints"), py::arg("jacobian"),
           py::arg("num_equalities"), py::arg("lower") = py::none(), py::arg("upper") = py::none(),
           py::arg("offsets") = py::none(), py::kw_only(), py::arg("num_variables") = 0,
           py::arg("ftol") = defaults.ftol, py::arg("maxiter") = defaults.maxiter,
           py::arg("precision") = defaults.precision)
      .def(
          "advance",
          [](PySlsqp& self, double f, bool with_derivatives) { return self.advancing().advance(f, with_derivatives); },
          py::arg("f"), py::arg("with_derivatives") = false,
          "Goes on as far as it can. After EVALUATE, f is the value at x and constraints holds theirs; "
          "with_derivatives: gradient and jacobian hold theirs too, as they do after DERIVATIVES.")
      .def(
          "restart",
          [](PySlsqp& self, double ftol, std::int64_t maxiter, double precision) {
            self.change().restart(make_options(ftol, maxiter, precision));
          },
          py::kw_only(), py::arg("ftol") = defaults.ftol, py::arg("maxiter") = defaults.maxiter,
          py::arg("precision") = defaults.precision,
          "Begins anew at what x holds, as a new solver with these options would.")
      .def_static("check_memory", &solvers::Slsqp::check_memory, py::arg("n"), py::arg("m"), py::arg("count") = 1,
                  "Raises MemoryError if the machine has no room for so many solvers of n variables and m constraints.")
      .def("multipliers", &multipliers, "The multipliers of the constraints in the last quadratic subproblem, [m].")
      .def_property_readonly("constraints", [](const PySlsqp& self) { return self.constraints(); })
      .def_property_readonly("jacobian", [](const PySlsqp& self) { return self.jacobian(); })
      .def_property_readonly("constr_violation", [](const PySlsqp& self) { return self.look().constr_violation(); })
      .def_property_readonly("njev", [](const PySlsqp& self) { return self.look().njev(); })
      .def_property_readonly("expects_derivatives",
                             [](const PySlsqp& self) { return self.look().expects_derivatives(); })
      .def_property_readonly("has_derivatives", [](const PySlsqp& self) { return self.look().has_derivatives(); });
  define_solver(binding);
}

}  // namespace tfminimize
