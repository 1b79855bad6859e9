#ifndef TFMINIMIZE_BINDINGS_SOLVER_H_
#define TFMINIMIZE_BINDINGS_SOLVER_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "solvers/status.h"

namespace tfminimize {

namespace py = pybind11;

/// The arrays that every solver works on.
struct SolverArrays {
  py::array x;
  py::array gradient;
  std::optional<py::array> lower;
  std::optional<py::array> upper;
};

/// A solver as Python holds it, with the arrays that it works on.
template <typename Core>
class PySolver {
 public:
  PySolver(Core core, SolverArrays arrays) : arrays_(std::move(arrays)), core_(std::move(core)) {}

  const py::array& x() const { return arrays_.x; }
  const py::array& gradient() const { return arrays_.gradient; }

  /// The solver, to look at. Throws std::runtime_error while drive() runs, other than in its callback.
  const Core& look() const {
    if (use_ == Use::kDriven) throw std::runtime_error("The solver is being driven; it can be read in the callback.");
    return core_;
  }

  /// The solver, to change. Throws std::runtime_error while drive() runs.
  Core& change() {
    if (use_ != Use::kIdle) throw std::runtime_error("The solver is being driven; it cannot be changed.");
    return core_;
  }

  /// The solver, to advance. Throws std::runtime_error while drive() runs, and if it has stopped.
  Core& advancing() {
    Core& core = change();
    if (core.request() == solvers::Request::kStopped)
      throw std::runtime_error("The solver has stopped; it cannot advance.");
    return core;
  }

  /// Hands the solver to use(solver) alone. Called with the GIL held; `use` may release it.
  void lend(const std::function<void(Core&)>& use) {
    Core& core = change();
    const Scoped scoped(use_, Use::kDriven);
    use(core);
  }

  /// Lets Python look while callback() runs, within lend(). Called with the GIL held.
  bool show(const std::function<bool()>& callback) {
    const Scoped scoped(use_, Use::kShown);
    return callback();
  }

 private:
  enum class Use { kIdle, kDriven, kShown };

  /// Sets a variable, and sets it back at the end of the scope.
  class Scoped {
   public:
    Scoped(Use& variable, Use value) : variable_(variable), before_(std::exchange(variable, value)) {}
    ~Scoped() { variable_ = before_; }
    Scoped(const Scoped&) = delete;
    Scoped& operator=(const Scoped&) = delete;

   private:
    Use& variable_;
    Use before_;
  };

  SolverArrays arrays_;
  Core core_;
  Use use_ = Use::kIdle;
};

/// Binds what all solvers have.
template <typename Py, typename... Options>
void define_solver(py::class_<Py, Options...>& binding) {
  binding
      .def(
          "stop",
          [](Py& self) {
            auto& core = self.change();
            if (core.request() != solvers::Request::kIteration) {
              throw std::runtime_error("The solver can be stopped only when an iteration is complete.");
            }
            core.stop();
          },
          "Ends the solve; allowed when an iteration is complete.")
      .def(
          "save",
          [](const Py& self) {
            const std::vector<std::uint8_t> state = self.look().save();
            return py::bytes(reinterpret_cast<const char*>(state.data()), state.size());
          },
          "The whole state.")
      .def(
          "restore",
          [](Py& self, const py::bytes& state) {
            const std::string_view view = state;
            self.change().restore({reinterpret_cast<const std::uint8_t*>(view.data()), view.size()});
          },
          py::arg("state"), "Takes a state saved by a solver of the same sizes and bounds.")
      .def_property_readonly(
          "outcome",
          [](const Py& self) {
            const auto& core = self.look();
            return py::make_tuple(scipy_code(core.status()), message(core.status()), core.fun(), core.nit(),
                                  core.nfev());
          },
          "status_code, message, fun, nit and nfev at once.")
      .def_property_readonly("x", [](const Py& self) { return self.x(); })
      .def_property_readonly("gradient", [](const Py& self) { return self.gradient(); })
      .def_property_readonly("request", [](const Py& self) { return self.look().request(); })
      .def_property_readonly("status", [](const Py& self) { return self.look().status(); })
      .def_property_readonly("status_code", [](const Py& self) { return scipy_code(self.look().status()); })
      .def_property_readonly("message", [](const Py& self) { return message(self.look().status()); })
      .def_property_readonly("fun", [](const Py& self) { return self.look().fun(); })
      .def_property_readonly("nit", [](const Py& self) { return self.look().nit(); })
      .def_property_readonly("nfev", [](const Py& self) { return self.look().nfev(); });
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_SOLVER_H_
