#include <memory>
#include <utility>

#include "bindings/gil.h"
#include "bindings/host_values.h"
#include "bindings/objective.h"
#include "objectives/host_function.h"

namespace tfminimize {
namespace {

class PyHostFunction final : public PyObjective {
 public:
  explicit PyHostFunction(py::function fun) : fun_(std::move(fun)) {}

 private:
  void with_exclusively(const py::array& x, const std::function<void(Objective&)>& use) override {
    const py::array view = read_only_view(x);
    // Apart from the stack, which other threads must not look at: see drive_batch().
    const auto function = std::make_unique<HostFunction>([this, view](Span<const double> /*x*/, Span<double> g) {
      const GilHeld gil;
      const py::object result = fun_(view);
      const auto [value, gradient] = to_pair(result, "The function", "its value and its gradient");
      copy_values(gradient, "gradient", g, "x has ");
      return to_scalar(value, "value of the function");
    });
    use(*function);
  }

  py::function fun_;
};

}  // namespace

void register_host_function(py::module_& m) {
  py::class_<PyHostFunction, PyObjective>(m, "HostFunction", py::is_final(),
                                          R"(A Python function x -> (value, gradient).

It is given x itself as a read-only array, which changes when the solver moves on: keep a copy, not the array.)")
      .def(py::init<py::function>(), py::arg("fun"));
}

}  // namespace tfminimize
