#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string_view>

#include "xla/nanort_program.h"

namespace py = pybind11;

namespace tfminimize {
namespace {

py::capsule compile(const py::bytes& hlo) {
  std::shared_ptr<XlaProgram> program;
  {
    const std::string_view view = hlo;
    const py::gil_scoped_release no_gil;
    program = compile_program(view);
  }
  auto owner = std::make_unique<std::shared_ptr<XlaProgram>>(std::move(program));
  const py::capsule capsule(owner.get(), kXlaProgramCapsule, [](PyObject* object) {
    const std::unique_ptr<std::shared_ptr<XlaProgram>> last(
        static_cast<std::shared_ptr<XlaProgram>*>(PyCapsule_GetPointer(object, kXlaProgramCapsule)));
  });
  owner.release();
  return capsule;
}

}  // namespace
}  // namespace tfminimize

PYBIND11_MODULE(_xla, m) {
  m.doc() = "The part of tfminimize that links to XLA: machine code for TensorFlow functions.";
  m.def("compile", &tfminimize::compile, py::arg("hlo"),
        "Compiles a serialized xla::HloModuleProto for this processor. Returns a capsule for _native.XlaExecutable; "
        "raises RuntimeError with XLA's message.");
}
