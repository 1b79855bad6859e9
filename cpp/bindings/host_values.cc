#include "bindings/host_values.h"

#include <algorithm>

namespace tfminimize::bindings {

py::array_t<double> real_array(const py::handle& value, const std::string& what) {
  const py::array array = py::array::ensure(value);
  if (!array) {
    PyErr_Clear();
    throw py::type_error("The " + what + " is a " + Py_TYPE(value.ptr())->tp_name +
                         ", which is not a number or an array of numbers.");
  }
  const std::string kinds = "fiub";
  if (kinds.find(array.dtype().kind()) == std::string::npos) {
    throw py::type_error("The " + what + " has dtype " + std::string(py::str(array.dtype())) + "; it must be real.");
  }
  return py::array_t<double, py::array::c_style | py::array::forcecast>(array);
}

double to_scalar(const py::handle& value, const std::string& what) {
  if (PyFloat_Check(value.ptr())) return PyFloat_AS_DOUBLE(value.ptr());  // and numpy.float64, which is a float
  const py::array_t<double> array = real_array(value, what);
  if (array.size() != 1) {
    throw py::value_error("The " + what + " has " + std::to_string(array.size()) + " elements; it must be a scalar.");
  }
  return *array.data();
}

void copy_values(const py::handle& value, const std::string& what, Span<double> target, const std::string& counted) {
  const py::array_t<double> array = real_array(value, what);
  if (static_cast<std::size_t>(array.size()) != target.size()) {
    throw py::value_error("The " + what + " has " + std::to_string(array.size()) + " elements, and " + counted +
                          std::to_string(target.size()) + ".");
  }
  std::copy_n(array.data(), target.size(), target.data());
}

py::array read_only_view(const py::array& x) {
  py::array view(x.dtype(), {x.size()}, {}, x.data(), x);
  py::detail::array_proxy(view.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return view;
}

std::pair<py::handle, py::handle> to_pair(const py::object& result, const char* function, const char* items) {
  if (!PyTuple_Check(result.ptr()) || PyTuple_GET_SIZE(result.ptr()) != 2) {
    throw py::type_error(std::string(function) + " must return a tuple of " + items + ".");
  }
  return {PyTuple_GET_ITEM(result.ptr(), 0), PyTuple_GET_ITEM(result.ptr(), 1)};
}

}  // namespace tfminimize::bindings
