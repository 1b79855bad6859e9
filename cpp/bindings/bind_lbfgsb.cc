#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/lbfgsb.h"

namespace tfminimize {
namespace {

/// Sets a variable, and sets it back at the end of the scope.
template <typename T>
class Scoped {
 public:
  Scoped(T& variable, T value) : variable_(variable), before_(std::exchange(variable, value)) {}
  ~Scoped() { variable_ = before_; }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;

 private:
  T& variable_;
  T before_;
};

Span<const double> bound_span(const std::optional<py::array>& bound, const std::string& name, std::size_t n) {
  if (!bound) return {};
  const Span<const double> span = vector_span<double>(*bound, name, {false, false});
  if (span.size() != n) {
    throw py::value_error(name + " has " + std::to_string(span.size()) + " elements, and x has " + std::to_string(n) +
                          ".");
  }
  return span;
}

std::unique_ptr<PyLbfgsb> make_lbfgsb(py::array x, py::array gradient, std::optional<py::array> lower,
                                      std::optional<py::array> upper, std::int64_t maxcor, double ftol, double gtol,
                                      std::int64_t maxfun, std::int64_t maxiter, std::int64_t maxls) {
  LbfgsbOptions options;
  options.maxcor = maxcor;
  options.ftol = ftol;
  options.gtol = gtol;
  options.maxfun = maxfun;
  options.maxiter = maxiter;
  options.maxls = maxls;
  return std::make_unique<PyLbfgsb>(std::move(x), std::move(gradient), std::move(lower), std::move(upper), options);
}

Request advance(PyLbfgsb& self, double f) {
  Lbfgsb& solver = self.change();
  if (solver.request() == Request::kStopped) throw std::runtime_error("The solver has stopped; it cannot advance.");
  return solver.advance(f);
}

void stop(PyLbfgsb& self) {
  Lbfgsb& solver = self.change();
  if (solver.request() != Request::kIteration) {
    throw std::runtime_error("The solver can be stopped only when an iteration is complete.");
  }
  solver.stop();
}

py::tuple corrections(const PyLbfgsb& self) {
  const Lbfgsb& solver = self.look();
  const auto k = static_cast<py::ssize_t>(solver.num_corrections());
  const auto n = static_cast<py::ssize_t>(solver.size());
  py::array_t<double> s({k, n});
  py::array_t<double> y({k, n});
  solver.copy_corrections({s.mutable_data(), static_cast<std::size_t>(s.size())},
                          {y.mutable_data(), static_cast<std::size_t>(y.size())});
  return py::make_tuple(s, y);
}

py::bytes save(const PyLbfgsb& self) {
  const std::vector<std::uint8_t> state = self.look().save();
  return {reinterpret_cast<const char*>(state.data()), state.size()};
}

void restore(PyLbfgsb& self, const py::bytes& state) {
  const std::string_view view = state;
  self.change().restore({reinterpret_cast<const std::uint8_t*>(view.data()), view.size()});
}

void register_enums(py::module_& m) {
  py::native_enum<Request>(m, "Request", "enum.Enum", "What a solver needs before it can go on.")
      .value("EVALUATE", Request::kEvaluate)
      .value("ITERATION", Request::kIteration)
      .value("STOPPED", Request::kStopped)
      .finalize();
  py::native_enum<Status>(m, "Status", "enum.Enum", "How a solve ended, or that it has not.")
      .value("RUNNING", Status::kRunning)
      .value("GRADIENT_CONVERGED", Status::kGradientConverged)
      .value("FUNCTION_CONVERGED", Status::kFunctionConverged)
      .value("MAX_ITERATIONS", Status::kMaxIterations)
      .value("MAX_EVALUATIONS", Status::kMaxEvaluations)
      .value("CALLER_STOPPED", Status::kCallerStopped)
      .value("LINE_SEARCH_FAILED", Status::kLineSearchFailed)
      .value("GRADIENT_MISMATCH", Status::kGradientMismatch)
      .value("NON_FINITE_START", Status::kNonFiniteStart)
      .value("UNBOUNDED_BELOW", Status::kUnboundedBelow)
      .finalize();
}

}  // namespace

PyLbfgsb::PyLbfgsb(py::array x, py::array gradient, std::optional<py::array> lower, std::optional<py::array> upper,
                   const LbfgsbOptions& options)
    : x_(std::move(x)),
      gradient_(std::move(gradient)),
      lower_(std::move(lower)),
      upper_(std::move(upper)),
      x_span_(vector_span<double>(x_, "x")),
      gradient_span_(vector_span<double>(gradient_, "gradient")),
      solver_(x_span_, gradient_span_, bound_span(lower_, "lower", x_span_.size()),
              bound_span(upper_, "upper", x_span_.size()), options) {}

const Lbfgsb& PyLbfgsb::look() const {
  if (use_ == Use::kDriven) throw std::runtime_error("The solver is being driven; it can be read in the callback.");
  return solver_;
}

Lbfgsb& PyLbfgsb::change() {
  if (use_ != Use::kIdle) throw std::runtime_error("The solver is being driven; it cannot be changed.");
  return solver_;
}

void PyLbfgsb::lend(const std::function<void(Lbfgsb&)>& use) {
  Lbfgsb& solver = change();
  const Scoped<Use> scoped(use_, Use::kDriven);
  use(solver);
}

bool PyLbfgsb::show(const std::function<bool()>& callback) {
  const Scoped<Use> scoped(use_, Use::kShown);
  return callback();
}

void register_lbfgsb(py::module_& m) {
  register_enums(m);
  const LbfgsbOptions defaults;
  py::class_<PyLbfgsb>(m, "Lbfgsb", py::is_final(),
                       R"(Limited-memory BFGS with bounds, by reverse communication.

It works on the arrays that it is given: float64; x and gradient also 64-byte aligned, writeable and of the same size.
x is projected into the bounds at once. While drive() runs with it, it can be read in the callback only, and not be
changed (RuntimeError).)")
      .def(py::init(&make_lbfgsb), py::arg("x"), py::arg("gradient"), py::arg("lower") = py::none(),
           py::arg("upper") = py::none(), py::kw_only(), py::arg("maxcor") = defaults.maxcor,
           py::arg("ftol") = defaults.ftol, py::arg("gtol") = defaults.gtol, py::arg("maxfun") = defaults.maxfun,
           py::arg("maxiter") = defaults.maxiter, py::arg("maxls") = defaults.maxls)
      .def("advance", &advance, py::arg("f"), "Goes on as far as it can; f is the value at x after EVALUATE.")
      .def("stop", &stop, "Ends the solve; allowed when an iteration is complete.")
      .def("corrections", &corrections, "The correction pairs s, y as arrays [k, n], the oldest first.")
      .def("save", &save, "The whole state.")
      .def("restore", &restore, py::arg("state"), "Takes a state saved by a solver of the same sizes and bounds.")
      .def_property_readonly("x", &PyLbfgsb::x)
      .def_property_readonly("gradient", &PyLbfgsb::gradient)
      .def_property_readonly("request", [](const PyLbfgsb& self) { return self.look().request(); })
      .def_property_readonly("status", [](const PyLbfgsb& self) { return self.look().status(); })
      .def_property_readonly("status_code", [](const PyLbfgsb& self) { return scipy_code(self.look().status()); })
      .def_property_readonly("message", [](const PyLbfgsb& self) { return message(self.look().status()); })
      .def_property_readonly("fun", [](const PyLbfgsb& self) { return self.look().fun(); })
      .def_property_readonly("nit", [](const PyLbfgsb& self) { return self.look().nit(); })
      .def_property_readonly("nfev", [](const PyLbfgsb& self) { return self.look().nfev(); })
      .def_property_readonly("num_corrections", [](const PyLbfgsb& self) { return self.look().num_corrections(); });
}

}  // namespace tfminimize
