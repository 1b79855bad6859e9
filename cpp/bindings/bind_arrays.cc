#include <limits>
#include <new>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/gil.h"
#include "solvers/aligned_array.h"
#include "solvers/problem.h"

namespace tfminimize::bindings {
namespace {

template <typename T>
py::array make_aligned_zeros(py::ssize_t n) {
  auto buffer =
      std::make_unique<solvers::AlignedArray<T>>(solvers::AlignedArray<T>::zeros(static_cast<std::size_t>(n)));
  T* data = buffer->data();
  const py::capsule owner(buffer.release(), [](void* p) {
    const std::unique_ptr<solvers::AlignedArray<T>> last(static_cast<solvers::AlignedArray<T>*>(p));
  });
  return py::array_t<T>({n}, data, owner);
}

std::string to_string(const py::dtype& dtype) { return py::str(dtype); }

py::array aligned_zeros(py::ssize_t n, const std::string& dtype) {
  if (n < 0) throw py::value_error("n is " + std::to_string(n) + "; it must not be negative.");
  if (dtype == "float64") return make_aligned_zeros<double>(n);
  if (dtype == "float32") return make_aligned_zeros<float>(n);
  throw py::value_error("dtype is '" + dtype + "'; it must be 'float64' or 'float32'.");
}

py::array aligned_matrix(py::ssize_t rows, std::size_t columns) {
  const auto stride = static_cast<py::ssize_t>(solvers::Problem::stride(columns));
  if (rows < 0) throw py::value_error("rows is " + std::to_string(rows) + "; it must not be negative.");
  if (stride > 0 && rows > std::numeric_limits<py::ssize_t>::max() / stride) throw std::bad_alloc();
  return make_aligned_zeros<double>(rows * stride).reshape({rows, stride});
}

template <typename T>
void check_dtype(const py::array& array, const std::string& name) {
  if (!array.dtype().is(py::dtype::of<T>()) && !array.dtype().equal(py::dtype::of<T>())) {
    throw py::type_error(name + " has dtype " + to_string(array.dtype()) + "; it must be " +
                         to_string(py::dtype::of<T>()) + ".");
  }
}

template <typename T>
Span<T> memory_of(const py::array& array, const std::string& name, VectorTraits traits) {
  if (traits.writeable && !array.writeable()) throw py::value_error(name + " must be writeable.");
  if (traits.aligned && !solvers::is_aligned(array.data())) {
    throw py::value_error(name + " must start at a multiple of 64 bytes; aligned_zeros() makes such arrays.");
  }
  return {static_cast<T*>(const_cast<void*>(array.data())), static_cast<std::size_t>(array.size())};
}

}  // namespace

template <typename T>
Span<T> vector_span(const py::array& array, const std::string& name, VectorTraits traits) {
  check_dtype<T>(array, name);
  if (array.ndim() != 1 || (array.flags() & py::array::c_style) == 0) {
    throw py::value_error(name + " must be one-dimensional and contiguous.");
  }
  return memory_of<T>(array, name, traits);
}

template Span<double> vector_span<double>(const py::array&, const std::string&, VectorTraits);
template Span<float> vector_span<float>(const py::array&, const std::string&, VectorTraits);

Span<double> matrix_span(const py::array& array, const std::string& name, std::size_t rows, std::size_t columns) {
  check_dtype<double>(array, name);
  if (rows == 0 && array.size() == 0) return {};
  if (array.ndim() != 2 || array.shape(0) != static_cast<py::ssize_t>(rows) ||
      array.shape(1) != static_cast<py::ssize_t>(columns)) {
    throw py::value_error(name + " has the shape " + std::string(py::str(array.attr("shape"))) + "; it must be (" +
                          std::to_string(rows) + ", " + std::to_string(columns) + ").");
  }
  if ((array.flags() & py::array::c_style) == 0) throw py::value_error(name + " must be contiguous, row by row.");
  return memory_of<double>(array, name, {true, true});
}

Span<const double> optional_span(const std::optional<py::array>& vector, const std::string& name, std::size_t n,
                                 const char* counted) {
  if (!vector) return {};
  const Span<const double> span = vector_span<double>(*vector, name, {false, false});
  if (span.size() != n) {
    throw py::value_error(name + " has " + std::to_string(span.size()) + " elements, and " + counted + " has " +
                          std::to_string(n) + ".");
  }
  return span;
}

std::shared_ptr<const void> keep_alive(py::object object) {
  PyObject* pointer = object.release().ptr();
  return {pointer, [](const void* p) {
            // TensorFlow may release memory after Python has shut down; no reference is left to count then.
            if (Py_IsInitialized() == 0) return;
            const GilHeld gil;
            Py_DECREF(static_cast<PyObject*>(const_cast<void*>(p)));
          }};
}

void register_arrays(py::module_& m) {
  m.def("aligned_matrix", &aligned_matrix, py::arg("rows"), py::arg("columns"),
        "A matrix of zeros. Every row starts at a multiple of 64 bytes, so the matrix may have some more columns.");
  m.def("aligned_zeros", &aligned_zeros, py::arg("n"), py::arg("dtype") = "float64",
        "A vector of zeros that starts at a multiple of 64 bytes, so that TensorFlow can read it in place.");
}

}  // namespace tfminimize::bindings
