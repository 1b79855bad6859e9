#include <algorithm>
#include <string>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/gil.h"
#include "bindings/objective.h"
#include "objectives/host_function.h"

namespace tfminimize {
namespace {

/// A value of the function as a NumPy array of real numbers of any shape.
py::array_t<double> real_array(const py::handle& value, const char* what) {
  const py::array array = py::array::ensure(value);
  if (!array) {
    PyErr_Clear();
    throw py::type_error(std::string("The ") + what + " is a " + Py_TYPE(value.ptr())->tp_name +
                         ", which is not a number or an array of numbers.");
  }
  const std::string kinds = "fiub";
  if (kinds.find(array.dtype().kind()) == std::string::npos) {
    throw py::type_error(std::string("The ") + what + " has dtype " + std::string(py::str(array.dtype())) +
                         "; it must be real.");
  }
  return py::array_t<double, py::array::c_style | py::array::forcecast>(array);
}

double to_scalar(const py::handle& value) {
  if (PyFloat_Check(value.ptr())) return PyFloat_AS_DOUBLE(value.ptr());  // and numpy.float64, which is a float
  const py::array_t<double> array = real_array(value, "value of the function");
  if (array.size() != 1) {
    throw py::value_error("The value of the function has " + std::to_string(array.size()) +
                          " elements; it must be a scalar.");
  }
  return *array.data();
}

void copy_gradient(const py::handle& value, Span<double> g) {
  const py::array_t<double> array = real_array(value, "gradient");
  if (static_cast<std::size_t>(array.size()) != g.size()) {
    throw py::value_error("The gradient has " + std::to_string(array.size()) + " elements, and x has " +
                          std::to_string(g.size()) + ".");
  }
  std::copy_n(array.data(), g.size(), g.data());
}

/// The same memory, read-only.
py::array read_only_view(const py::array& x) {
  py::array view(x.dtype(), {x.size()}, {}, x.data(), x);
  py::detail::array_proxy(view.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return view;
}

class PyHostFunction final : public PyObjective {
 public:
  explicit PyHostFunction(py::function fun) : fun_(std::move(fun)) {}

 private:
  void with_exclusively(const py::array& x, const std::function<void(Objective&)>& use) override {
    const py::array view = read_only_view(x);
    HostFunction function([&](Span<const double> /*x*/, Span<double> g) {
      const GilHeld gil;
      const py::object result = fun_(view);
      if (!PyTuple_Check(result.ptr()) || PyTuple_GET_SIZE(result.ptr()) != 2) {
        throw py::type_error("The function must return a tuple of its value and its gradient.");
      }
      copy_gradient(PyTuple_GET_ITEM(result.ptr(), 1), g);
      return to_scalar(PyTuple_GET_ITEM(result.ptr(), 0));
    });
    use(function);
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
