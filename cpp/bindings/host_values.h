#ifndef TFMINIMIZE_BINDINGS_HOST_VALUES_H_
#define TFMINIMIZE_BINDINGS_HOST_VALUES_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <utility>

#include "solvers/span.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// Converts what a Python function returned to a NumPy array of real numbers of any shape. Throws py::type_error for
/// anything else, in a sentence that calls it `what`.
py::array_t<double> real_array(const py::handle& value, const std::string& what);

/// Converts a real scalar, or an array of one element.
double to_scalar(const py::handle& value, const std::string& what);

/// Copies real numbers of any shape. Throws py::value_error unless there are as many as `target` has; `counted` says
/// where that number comes from.
void copy_values(const py::handle& value, const std::string& what, Span<double> target, const std::string& counted);

/// A read-only view of the same memory.
py::array read_only_view(const py::array& x);

/// The two items of a tuple. Throws py::type_error for anything else, in a sentence that says that `function` must
/// return `items`.
std::pair<py::handle, py::handle> to_pair(const py::object& result, const char* function, const char* items);

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_HOST_VALUES_H_
