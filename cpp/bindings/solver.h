#ifndef TFMINIMIZE_BINDINGS_SOLVER_H_
#define TFMINIMIZE_BINDINGS_SOLVER_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "solvers/bfgs/bfgs.h"
#include "solvers/kernels/kernels.h"
#include "solvers/problem.h"
#include "solvers/solver.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// The arrays of a problem.
struct ProblemArrays {
  py::array x;
  py::array gradient;
  std::optional<py::array> constraints;
  std::optional<py::array> jacobian;
  std::optional<py::array> lower;
  std::optional<py::array> upper;
  std::optional<py::array> offsets;

  /// The problem in the memory of these arrays. Throws py::type_error or py::value_error for arrays and numbers that
  /// cannot be used.
  solvers::Problem problem(std::int64_t num_equalities, std::int64_t num_variables) const;
};

/// A solver as Python holds it, and the arrays that it works on.
class PySolver {
 public:
  PySolver(ProblemArrays arrays, const solvers::Problem& problem, std::unique_ptr<solvers::Solver> core)
      : arrays_(std::move(arrays)), problem_(problem), core_(std::move(core)) {}
  virtual ~PySolver() = default;
  PySolver(const PySolver&) = delete;
  PySolver& operator=(const PySolver&) = delete;

  const ProblemArrays& arrays() const { return arrays_; }
  const solvers::Problem& problem() const { return problem_; }

  /// The solver, to be read. Throws std::runtime_error while it is driven, except in a callback.
  const solvers::Solver& look() const;

  /// The solver, to be changed. Throws std::runtime_error while it is driven.
  solvers::Solver& change();

 private:
  friend class SolverUse;
  friend class SolverShown;

  enum class Use { kIdle, kDriven, kShown };

  ProblemArrays arrays_;
  solvers::Problem problem_;
  std::unique_ptr<solvers::Solver> core_;
  Use use_ = Use::kIdle;
};

/// The only user of a solver, while it lives. Make and destroy it with the GIL held.
class SolverUse {
 public:
  /// Throws std::runtime_error while another one uses the solver.
  explicit SolverUse(PySolver& solver) : solver_(solver), core_(solver.change()) {
    solver.use_ = PySolver::Use::kDriven;
  }
  ~SolverUse() { solver_.use_ = PySolver::Use::kIdle; }
  SolverUse(const SolverUse&) = delete;
  SolverUse& operator=(const SolverUse&) = delete;

  solvers::Solver& core() const { return core_; }

 private:
  PySolver& solver_;
  solvers::Solver& core_;
};

/// Lets Python read a solver in use, while it lives. Make and destroy it with the GIL held.
class SolverShown {
 public:
  explicit SolverShown(PySolver& solver) : solver_(solver) { solver.use_ = PySolver::Use::kShown; }
  ~SolverShown() { solver_.use_ = PySolver::Use::kDriven; }
  SolverShown(const SolverShown&) = delete;
  SolverShown& operator=(const SolverShown&) = delete;

 private:
  PySolver& solver_;
};

/// A PySolver whose core is a `Core`.
template <typename Core>
class PySolverOf final : public PySolver {
 public:
  template <typename Options>
  PySolverOf(ProblemArrays arrays, const solvers::Problem& problem, const Options& options)
      : PySolver(std::move(arrays), problem, std::make_unique<Core>(problem, options)) {}

  const Core& look() const { return static_cast<const Core&>(PySolver::look()); }
  Core& change() { return static_cast<Core&>(PySolver::change()); }
};

[[noreturn]] inline void fail_option(const py::handle& name, const py::handle& value, const char* wanted) {
  throw py::type_error(name.cast<std::string>() + " is a " + Py_TYPE(value.ptr())->tp_name + "; it must be " + wanted +
                       ".");
}

/// The storage that a string names. Throws py::type_error for anything else.
inline solvers::Storage parse_storage(const py::handle& name, const py::handle& value) {
  const std::string text = py::isinstance<py::str>(value) ? value.cast<std::string>() : "";
  if (text == "float64") return solvers::Storage::kFloat64;
  if (text == "float32") return solvers::Storage::kFloat32;
  fail_option(name, value, "'float64' or 'float32'");
}

/// The update that a string names. Throws py::type_error for anything else.
solvers::BfgsUpdate parse_update(const py::handle& name, const py::handle& value);

/// The matrix that an array holds, which lives as long as its memory is used; None gives none. Throws py::type_error
/// unless it is a C-contiguous matrix of float64.
solvers::DenseMatrix parse_matrix(const py::handle& name, const py::handle& value);

/// An option of a solver: its name and its member of `Options`.
template <typename Options>
class Option {
 public:
  using Member =
      std::variant<double Options::*, std::int64_t Options::*, std::optional<std::int64_t> Options::*, bool Options::*,
                   solvers::Storage Options::*, solvers::BfgsUpdate Options::*, solvers::DenseMatrix Options::*>;

  Option(const char* name, Member member) : name_(PyUnicode_InternFromString(name)), member_(member) {}

  bool has_name(const py::handle& name) const {
    return name.ptr() == name_ || PyUnicode_Compare(name.ptr(), name_) == 0;  // names in source code are interned
  }

  /// Throws py::type_error for a value that is not of the kind that it must be.
  void set(Options& options, const py::handle& value) const {
    std::visit([&](auto member) { set_member(options.*member, value); }, member_);
  }

 private:
  template <typename T>
  void set_member(T& member, const py::handle& value) const {
    if constexpr (std::is_same_v<T, solvers::Storage>) {
      member = parse_storage(name_, value);
    } else if constexpr (std::is_same_v<T, solvers::BfgsUpdate>) {
      member = parse_update(name_, value);
    } else if constexpr (std::is_same_v<T, solvers::DenseMatrix>) {
      member = parse_matrix(name_, value);
    } else if constexpr (std::is_same_v<T, bool>) {
      set_converted(member, value, "True or False");
    } else if constexpr (std::is_same_v<T, double>) {
      set_converted(member, value, "a number");
    } else {
      set_converted(member, value, std::is_same_v<T, std::int64_t> ? "an integer" : "an integer or None");
    }
  }
  template <typename T>
  void set_converted(T& member, const py::handle& value, const char* wanted) const {
    py::detail::make_caster<T> caster;
    if (!caster.load(value, true)) fail_option(name_, value, wanted);
    member = py::detail::cast_op<T>(caster);
  }

  PyObject* name_;  ///< Never released: an interned name lives as long as the process.
  Member member_;
};

template <typename Options>
using OptionList = std::vector<Option<Options>>;

/// The options that are given; the others keep their defaults. Throws py::type_error for an unknown name.
template <typename Options>
Options parse_options(const py::kwargs& given, const OptionList<Options>& known) {
  Options options;
  for (const auto& [name, value] : given) {
    const auto found =
        std::find_if(known.begin(), known.end(), [&name = name](const auto& option) { return option.has_name(name); });
    if (found == known.end()) {
      throw py::type_error("there is no option " + name.template cast<std::string>() + ".");
    }
    found->set(options, value);
  }
  return options;
}

/// Binds a solver class, with the methods that all solvers share.
template <typename Core, typename Options>
py::class_<PySolverOf<Core>, PySolver> bind_solver(py::module_& m, const char* name, const char* doc,
                                                   const OptionList<Options>& options) {
  using Py = PySolverOf<Core>;
  const auto make = [options](py::array x, py::array gradient, std::optional<py::array> constraints,
                              std::optional<py::array> jacobian, std::int64_t num_equalities,
                              std::optional<py::array> lower, std::optional<py::array> upper,
                              std::optional<py::array> offsets, std::int64_t num_variables, const py::kwargs& given) {
    ProblemArrays arrays{std::move(x),     std::move(gradient), std::move(constraints), std::move(jacobian),
                         std::move(lower), std::move(upper),    std::move(offsets)};
    const solvers::Problem problem = arrays.problem(num_equalities, num_variables);
    return std::make_unique<Py>(std::move(arrays), problem, parse_options(given, options));
  };
  py::class_<Py, PySolver> binding(m, name, py::is_final(), doc);
  binding
      .def(py::init(make), py::arg("x"), py::arg("gradient"), py::arg("constraints") = py::none(),
           py::arg("jacobian") = py::none(), py::arg("num_equalities") = 0, py::kw_only(),
           py::arg("lower") = py::none(), py::arg("upper") = py::none(), py::arg("offsets") = py::none(),
           py::arg("num_variables") = 0)
      .def(
          "restart",
          [options](Py& self, const py::kwargs& given) { self.change().restart(parse_options(given, options)); },
          "Begins anew at what x holds, as a new solver with these options would.")
      .def(
          "resume",
          [options](Py& self, const py::kwargs& given) { self.change().resume(parse_options(given, options)); },
          "Goes on with these options after restore(); a limit or tolerance that has ended the solve is tested again.")
      .def(
          "warm_start", [](Py& self, const Py& other) { return self.change().warm_start(other.look()); },
          py::arg("other"),
          "Begins with the curvature of another solver of as many variables; returns whether it could be used.")
      .def_property_readonly("status", [](const Py& self) { return self.look().status(); });
  return binding;
}

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_SOLVER_H_
