#include <pybind11/native_enum.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>

#include "solvers/slsqp/dual_active_set_qp.h"

namespace py = pybind11;

namespace tfminimize::bindings {
namespace {

/// An array of numbers; pybind11 copies it unless it holds contiguous doubles.
using Numbers = py::array_t<double, py::array::c_style | py::array::forcecast>;

void check_shape(const Numbers& array, const std::string& name, const py::tuple& shape) {
  const py::object actual = array.attr("shape");
  if (actual.equal(shape)) return;
  throw py::value_error(name + " has the shape " + std::string(py::str(actual)) + "; it must be " +
                        std::string(py::str(shape)) + ".");
}

Span<const double> span(const Numbers& array) { return {array.data(), static_cast<std::size_t>(array.size())}; }

Numbers copy(Span<const double> values, bool solved) {
  Numbers array(static_cast<py::ssize_t>(values.size()));
  std::copy(values.begin(), values.end(), array.mutable_data());
  if (!solved) std::fill_n(array.mutable_data(), array.size(), std::numeric_limits<double>::quiet_NaN());
  return array;
}

/// A quadratic programming solver as Python holds it.
class PyDualActiveSetQp {
 public:
  PyDualActiveSetQp(std::size_t n, std::size_t m) : n_(n), m_(m), qp_(n, m) {}

  py::tuple solve(const Numbers& hessian, const Numbers& gradient, const Numbers& constraints, const Numbers& jacobian,
                  std::size_t num_equalities, const std::optional<Numbers>& lower,
                  const std::optional<Numbers>& upper) {
    check_shape(hessian, "hessian", py::make_tuple(n_, n_));
    check_shape(gradient, "gradient", py::make_tuple(n_));
    check_shape(constraints, "constraints", py::make_tuple(m_));
    check_shape(jacobian, "jacobian", py::make_tuple(m_, n_));
    if (lower) check_shape(*lower, "lower", py::make_tuple(n_));
    if (upper) check_shape(*upper, "upper", py::make_tuple(n_));
    if (num_equalities > m_) {
      throw py::value_error("num_equalities is " + std::to_string(num_equalities) + "; there are " +
                            std::to_string(m_) + " constraints.");
    }
    solvers::LdltFactors b(n_);
    if (!b.factorize(span(hessian))) throw py::value_error("hessian must be positive definite.");
    const solvers::AlignedArray<double> rows = solvers::zeros(m_ * solvers::padded(n_));
    for (std::size_t i = 0; i < m_; ++i) {
      std::copy_n(jacobian.data() + i * n_, n_, rows.data() + i * solvers::padded(n_));
    }

    solvers::QuadraticProgram program;
    program.gradient = span(gradient);
    program.constraints = span(constraints);
    program.jacobian = {rows.data(), m_ * solvers::padded(n_)};
    program.num_equalities = num_equalities;
    if (lower) program.lower = span(*lower);
    if (upper) program.upper = span(*upper);
    const solvers::QpStatus status = qp_.solve(b, program);
    const bool solved = status == solvers::QpStatus::kSolved;
    return py::make_tuple(status, copy(qp_.solution(), solved), copy(qp_.multipliers(), solved),
                          copy(qp_.lower_multipliers(), solved), copy(qp_.upper_multipliers(), solved), qp_.pivots());
  }

 private:
  std::size_t n_;
  std::size_t m_;
  solvers::DualActiveSetQp qp_;
};

}  // namespace

void register_dual_active_set_qp(py::module_& m) {
  py::native_enum<solvers::QpStatus>(m, "QpStatus", "enum.Enum", "How a quadratic program was solved.")
      .value("SOLVED", solvers::QpStatus::kSolved)
      .value("INFEASIBLE", solvers::QpStatus::kInfeasible)
      .value("SINGULAR_EQUALITIES", solvers::QpStatus::kSingularEqualities)
      .value("PIVOT_LIMIT", solvers::QpStatus::kPivotLimit)
      .finalize();
  py::class_<PyDualActiveSetQp>(m, "DualActiveSetQp", py::is_final(),
                                R"(The solver of the quadratic subproblems of Slsqp, by itself.

With n variables s and m constraints, it minimises s @ hessian @ s / 2 + gradient @ s subject to
constraints[i] + jacobian[i] @ s = 0 for i < num_equalities, >= 0 for the others, and lower <= s <= upper.

It starts from the active set of the last program that it solved. So all programs of one solver must have the same
num_equalities and finite bounds at the same places.)")
      .def(py::init<std::size_t, std::size_t>(), py::arg("n"), py::arg("m"))
      .def("solve", &PyDualActiveSetQp::solve, py::arg("hessian"), py::arg("gradient"), py::arg("constraints"),
           py::arg("jacobian"), py::arg("num_equalities") = 0, py::arg("lower") = py::none(),
           py::arg("upper") = py::none(),
           "Returns the status, s, the multipliers of the constraints, of the lower and of the upper bounds, and the "
           "number of pivots. Without a solution the vectors are NaN.");
}

}  // namespace tfminimize::bindings
