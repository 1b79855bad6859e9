#ifndef TFMINIMIZE_BINDINGS_ARRAYS_H_
#define TFMINIMIZE_BINDINGS_ARRAYS_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "solvers/span.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// What vector_span() asks of a vector, besides its dtype, one dimension and contiguous memory.
struct VectorTraits {
  bool aligned = true;
  bool writeable = true;
};

/// The memory of a NumPy vector of T (double or float). Throws py::type_error or py::value_error, in a sentence that
/// begins with `name`, for anything that cannot be used in place.
template <typename T>
Span<T> vector_span(const py::array& array, const std::string& name, VectorTraits traits = {});

/// The memory of a NumPy matrix of doubles in row-major order, 64-byte aligned, of this shape. If `rows` is 0, any
/// empty array will do. Throws as vector_span() does.
Span<double> matrix_span(const py::array& array, const std::string& name, std::size_t rows, std::size_t columns);

/// The memory of a vector of n numbers that is only read; empty if there is no vector. `counted` names what has n
/// elements, for the error.
Span<const double> optional_span(const std::optional<py::array>& vector, const std::string& name, std::size_t n,
                                 const char* counted);

/// Keeps a Python object alive; whoever drops the last reference need not hold the GIL.
std::shared_ptr<const void> keep_alive(py::object object);

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_ARRAYS_H_
