#include <pybind11/native_enum.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string_view>

#include "bindings/arrays.h"
#include "bindings/solver.h"

namespace tfminimize::bindings {
namespace {

/// Converts a number from Python. Throws py::value_error unless it is from 0 to `limit`, the number of `counted`.
std::size_t to_count(std::int64_t value, const std::string& name, std::size_t limit, const char* counted) {
  if (value < 0 || static_cast<std::uint64_t>(value) > limit) {
    throw py::value_error(name + " is " + std::to_string(value) + "; it must be from 0 to the number of " + counted +
                          ", " + std::to_string(limit) + ".");
  }
  return static_cast<std::size_t>(value);
}

solvers::Request advance(PySolver& self, double f, bool with_derivatives) {
  solvers::Solver& core = self.change();
  if (core.request() == solvers::Request::kStopped) {
    throw std::runtime_error("The solver has stopped; it cannot advance.");
  }
  return core.advance(f, with_derivatives);
}

void stop(PySolver& self) {
  solvers::Solver& core = self.change();
  if (core.request() != solvers::Request::kIteration) {
    throw std::runtime_error("The solver can be stopped only when an iteration is complete.");
  }
  core.stop();
}

py::bytes save(const PySolver& self) {
  const std::vector<std::uint8_t> state = self.look().save();
  return {reinterpret_cast<const char*>(state.data()), state.size()};
}

void restore(PySolver& self, const py::bytes& state) {
  const std::string_view view = state;
  self.change().restore({reinterpret_cast<const std::uint8_t*>(view.data()), view.size()});
}

py::tuple outcome(const PySolver& self) {
  const solvers::Solver& core = self.look();
  return py::make_tuple(core.status_code(), core.message(), core.fun(), core.nit(), core.nfev(), core.njev(),
                        core.constr_violation());
}

py::array_t<double> multipliers(const PySolver& self) {
  const Span<const double> span = self.look().multipliers();
  py::array_t<double> array(static_cast<py::ssize_t>(span.size()));
  std::copy(span.begin(), span.end(), array.mutable_data());
  return array;
}

void register_request(py::module_& m) {
  py::native_enum<solvers::Request>(m, "Request", "enum.Enum", "What a solver needs next.")
      .value("EVALUATE", solvers::Request::kEvaluate)
      .value("DERIVATIVES", solvers::Request::kDerivatives)
      .value("ITERATION", solvers::Request::kIteration)
      .value("STOPPED", solvers::Request::kStopped)
      .finalize();
}

/// A property that reads the core of a solver.
template <auto get>
auto of_core() {
  return [](const PySolver& self) { return (self.look().*get)(); };
}

}  // namespace

solvers::Problem ProblemArrays::problem(std::int64_t num_equalities, std::int64_t num_variables) const {
  solvers::Problem problem;
  problem.x = vector_span<double>(x, "x");
  const std::size_t n = problem.x.size();
  problem.gradient = vector_span<double>(gradient, "gradient");
  if (problem.gradient.size() != n) throw py::value_error("gradient and x must have the same size.");
  if (constraints) problem.constraints = vector_span<double>(*constraints, "constraints", {false, true});
  const std::size_t m = problem.constraints.size();
  if (m > 0 && !jacobian) throw py::value_error("There are constraints, and no jacobian is given.");
  if (jacobian) problem.jacobian = matrix_span(*jacobian, "jacobian", m, solvers::Problem::stride(n));
  problem.num_equalities = to_count(num_equalities, "num_equalities", m, "constraints");
  problem.lower = optional_span(lower, "lower", n, "x");
  problem.upper = optional_span(upper, "upper", n, "x");
  problem.offsets = optional_span(offsets, "offsets", m, "constraints");
  problem.num_variables = to_count(num_variables, "num_variables", n, "variables");
  return problem;
}

const solvers::Solver& PySolver::look() const {
  if (use_ == Use::kDriven) throw std::runtime_error("The solver is being driven; it can be read in the callback.");
  return *core_;
}

solvers::Solver& PySolver::change() {
  if (use_ != Use::kIdle) throw std::runtime_error("The solver is being driven; it cannot be changed.");
  return *core_;
}

void register_solver(py::module_& m) {
  register_request(m);
  using solvers::Solver;
  py::class_<PySolver>(m, "Solver", R"(A solver that works by reverse communication.

It minimises f(x) subject to c_i(x) = 0 for i < num_equalities, c_i(x) >= 0 for the others, and the bounds. It works on
the arrays that it is given, all float64: x, gradient [n]; constraints [m]; jacobian, see aligned_matrix(m, n), where it
uses the first n columns; lower, upper [n]; offsets [m]. x, gradient and jacobian are 64-byte aligned. The constructor
projects x onto the bounds.

If offsets[i] is not NaN, constraint i is linear, c_i = jacobian[i] @ x + offsets[i]. Then the caller fills in its row
of the Jacobian beforehand, the solver computes c_i, and nobody else writes to either. num_variables: how many of the n
are not padding; 0 for all. While drive() runs a solver, only a callback can read it, and nobody can change it
(RuntimeError).)")
      .def("advance", &advance, py::arg("f"), py::arg("with_derivatives") = false,
           "Goes on until it needs something. After EVALUATE, pass f(x), with c(x) in constraints. "
           "with_derivatives: gradient and jacobian are up to date too, as they must be after DERIVATIVES.")
      .def("stop", &stop, "Ends the solve; only allowed when an iteration is complete.")
      .def(
          "restart_as_before", [](PySolver& self) { self.change().restart(); },
          "Begins anew at what x holds, with the same options.")
      .def("save", &save, "Returns the whole state.")
      .def("restore", &restore, py::arg("state"),
           "Takes over a state that a solver of the same sizes and bounds has saved.")
      .def("multipliers", &multipliers, "The multipliers of the constraints, [m].")
      .def_property_readonly("outcome", &outcome,
                             "status_code, message, fun, nit, nfev, njev and constr_violation at once.")
      .def_property_readonly("x", [](const PySolver& self) { return self.arrays().x; })
      .def_property_readonly("gradient", [](const PySolver& self) { return self.arrays().gradient; })
      .def_property_readonly("constraints", [](const PySolver& self) { return self.arrays().constraints; })
      .def_property_readonly("jacobian", [](const PySolver& self) { return self.arrays().jacobian; })
      .def_property_readonly("request", of_core<&Solver::request>())
      .def_property_readonly("status_code", of_core<&Solver::status_code>())
      .def_property_readonly("message", of_core<&Solver::message>())
      .def_property_readonly("fun", of_core<&Solver::fun>())
      .def_property_readonly("constr_violation", of_core<&Solver::constr_violation>())
      .def_property_readonly("nit", of_core<&Solver::nit>())
      .def_property_readonly("nfev", of_core<&Solver::nfev>())
      .def_property_readonly("njev", of_core<&Solver::njev>())
      .def_property_readonly("expects_derivatives", of_core<&Solver::expects_derivatives>())
      .def_property_readonly("has_derivatives", of_core<&Solver::has_derivatives>());
}

}  // namespace tfminimize::bindings
