#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/tensorflow.h"
#include "objectives/components.h"

namespace tfminimize::bindings {
namespace {

Component make_component(std::size_t offset, std::vector<std::int64_t> shape, const std::string& dtype,
                         const std::optional<py::array>& staging) {
  Component component{offset, std::move(shape), parse_dtype(dtype, "dtype"), nullptr};
  const std::size_t size = element_count(component);
  if (staging) {
    const Span<float> span = vector_span<float>(*staging, "staging");
    if (component.dtype != TF_FLOAT) throw py::value_error("staging is given for a component that is not float32.");
    if (span.size() != size) {
      throw py::value_error("staging has " + std::to_string(span.size()) + " elements, and the component has " +
                            std::to_string(size) + ".");
    }
    // Shares ownership of the array, and points to its memory.
    component.staging = std::shared_ptr<float>(std::const_pointer_cast<void>(keep_alive(*staging)), span.data());
  }
  return component;
}

}  // namespace

void register_component(py::module_& m) {
  py::class_<Component>(m, "Component", py::is_final(), R"(One segment of x as TensorFlow sees it.

offset: the index of its first element in x, a multiple of 8. staging: aligned float32 memory that a float32 component
is cast to before every evaluation, for a variable that shares this memory.)")
      .def(py::init(&make_component), py::arg("offset"), py::arg("shape"), py::arg("dtype"),
           py::arg("staging") = py::none());
}

}  // namespace tfminimize::bindings
