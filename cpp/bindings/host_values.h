#ifndef TFMINIMIZE_BINDINGS_HOST_VALUES_H_
#define TFMINIMIZE_BINDINGS_HOST_VALUES_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <utility>

#include "solvers/span.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// What a Python function returned, as a NumPy array of real numbers of any shape. Throws py::type_error, in a sentence
/// that names it by `what`, for anything else.
py::array_t<double> real_array(const py::handle& value, const std::string& what);

/// A real scalar, or an array of one element.
double to_scalar(const py::handle& value, const std::string& what);

/// Copies real numbers of any shape; throws py::value_error unless there are as many as `target` has, which is the
/// number of `counted`.
void copy_values(const py::handle& value, const std::string& what, Span<double> target, const std::string& counted);

/// The same memory, read-only.
py::array read_only_view(const py::array& x);

/// The two items of a tuple; throws py::type_error, in a sentence that says that `function` must return `items`, for
/// anything else.
std::pair<py::handle, py::handle> to_pair(const py::object& result, const char* function, const char* items);

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_HOST_VALUES_H_
