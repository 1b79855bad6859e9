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

/// What a vector that C++ works on in place must be, besides one-dimensional, contiguous and of the dtype.
struct VectorTraits {
  bool aligned = true;
  bool writeable = true;
};

/// The memory of a NumPy vector of T (double or float). Throws py::type_error or py::value_error, in a sentence that
/// begins with `name`, for anything that cannot be used in place.
template <typename T>
Span<T> vector_span(const py::array& array, const std::string& name, VectorTraits traits = {});

/// The memory of a NumPy matrix of doubles in row-major order, 64-byte aligned, of this shape; without rows, any array
/// without elements. Throws as vector_span() does.
Span<double> matrix_span(const py::array& array, const std::string& name, std::size_t rows, std::size_t columns);

/// A vector of n numbers that is only read, or nothing. `counted` is what has n elements, for the error.
Span<const double> optional_span(const std::optional<py::array>& vector, const std::string& name, std::size_t n,
                                 const char* counted);

/// Keeps a Python object alive from C++, where its last owner need not hold the GIL.
std::shared_ptr<const void> keep_alive(py::object object);

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_ARRAYS_H_
