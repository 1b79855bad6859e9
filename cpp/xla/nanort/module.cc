#include <dlfcn.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/gil.h"
#include "xla/factorizations/lapack.h"
#include "xla/nanort/checks.h"
#include "xla/nanort/lowering.h"
#include "xla/nanort/messages.h"
#include "xla/nanort/nanort_program.h"
#include "xla/xla_capsule.h"

namespace py = pybind11;

namespace tfminimize::xla {
namespace {

py::bytes lower_function(const std::string& function, const py::bytes& library,
                         const std::vector<LoweringArgument>& arguments) {
  std::string module;
  {
    const std::string_view view = library;
    const bindings::GilReleased no_gil;
    module = lower(function, view, arguments).module;
  }
  return module;
}

void check_state_of(const py::bytes& library) { check_state(parse<tensorflow::FunctionDefLibrary>(library)); }

py::capsule compile(const py::bytes& hlo) {
  std::shared_ptr<XlaProgram> program;
  {
    const std::string_view view = hlo;
    const bindings::GilReleased no_gil;
    program = compile_program(view);
  }
  auto owner = std::make_unique<std::shared_ptr<XlaProgram>>(std::move(program));
  py::capsule capsule(owner.get(), kXlaProgramCapsule, [](PyObject* object) {
    const std::unique_ptr<std::shared_ptr<XlaProgram>> last(
        static_cast<std::shared_ptr<XlaProgram>*>(PyCapsule_GetPointer(object, kXlaProgramCapsule)));
  });
  static_cast<void>(owner.release());  // the capsule owns it now
  return capsule;
}

/// The function that a capsule of Cython holds. The capsule's name is its declaration in C, which must begin so: other
/// builds of SciPy have integers of 64 bits.
template <typename Function>
void take_function(Function*& function, const py::dict& module, const char* symbol, const std::string& beginning) {
  const py::capsule capsule = module[symbol];
  const std::string declaration = capsule.name();
  if (declaration.rfind(beginning, 0) != 0) {
    throw py::import_error(std::string("SciPy's ") + symbol + " is " + declaration + ", and not " + beginning + "...");
  }
  function = reinterpret_cast<Function*>(capsule.get_pointer());
}

/// Finds how to set the threads of the library that a file is linked to, if it is OpenBLAS.
void take_threads(Lapack& functions, const std::string& file) {
  void* const library = dlopen(file.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return;
  for (const std::string prefix : {"scipy_", ""}) {
    void* const get = dlsym(library, (prefix + "openblas_get_num_threads").c_str());
    void* const set = dlsym(library, (prefix + "openblas_set_num_threads").c_str());
    if (get == nullptr || set == nullptr) continue;
    functions.threads = reinterpret_cast<int (*)()>(get);
    functions.set_threads = reinterpret_cast<void (*)(int)>(set);
    return;  // the library stays open
  }
  dlclose(library);
}

void use_lapack(const py::dict& lapack, const py::dict& blas, const std::string& file) {
  const std::string potrf = "void (char *, int *, ";
  const std::string gemm = "void (char *, char *, int *, int *, int *, ";
  const std::string triangular = "void (char *, char *, char *, char *, int *, int *, ";
  Lapack functions;
  take_function(functions.doubles.potrf, lapack, "dpotrf", potrf);
  take_function(functions.floats.potrf, lapack, "spotrf", potrf);
  take_function(functions.doubles.gemm, blas, "dgemm", gemm);
  take_function(functions.floats.gemm, blas, "sgemm", gemm);
  take_function(functions.doubles.trsm, blas, "dtrsm", triangular);
  take_function(functions.floats.trsm, blas, "strsm", triangular);
  take_function(functions.doubles.trmm, blas, "dtrmm", triangular);
  take_function(functions.floats.trmm, blas, "strmm", triangular);
  take_threads(functions, file);
  set_lapack(functions);
}

}  // namespace
}  // namespace tfminimize::xla

PYBIND11_MODULE(_xla, m) {
  using tfminimize::xla::LoweringArgument;
  m.doc() = "The part of tfminimize that links to XLA: machine code for TensorFlow functions.";
  py::class_<LoweringArgument>(m, "Argument", py::is_final(), R"(An argument of a function of TensorFlow.

dtype: a number of DataType. For a variable, dtype and shape are those of its value. constant: a serialized TensorProto,
if XLA is to know the value.)")
      .def(py::init([](int dtype, std::vector<std::int64_t> shape, bool is_variable, std::string constant) {
             return LoweringArgument{dtype, std::move(shape), is_variable, std::move(constant)};
           }),
           py::arg("dtype"), py::arg("shape"), py::kw_only(), py::arg("is_variable") = false,
           py::arg("constant") = py::bytes());
  m.def("lower", &tfminimize::xla::lower_function, py::arg("function"), py::arg("library"), py::arg("arguments"),
        R"(Translates a function of TensorFlow to a serialized xla::HloModuleProto.

library: a serialized FunctionDefLibrary with the function and those that it calls. The program has one parameter for
each argument that is a variable or not a constant, and returns a tuple. Raises RuntimeError with XLA's message.)");
  m.def("check_state", &tfminimize::xla::check_state_of, py::arg("library"),
        "Raises RuntimeError with a sentence if a function of a serialized FunctionDefLibrary has an operation that "
        "keeps its own state, as random numbers do.");
  m.def("compile", &tfminimize::xla::compile, py::arg("hlo"),
        "Compiles a serialized xla::HloModuleProto for this processor. Returns a capsule for _native.XlaCall; raises "
        "RuntimeError with XLA's message.");
  m.def(
      "use_lapack", &tfminimize::xla::use_lapack, py::arg("lapack"), py::arg("blas"), py::arg("file"),
      "Lets machine code that is compiled from now on call LAPACK for Cholesky factorizations, triangular systems and "
      "large products. "
      "lapack, blas: `__pyx_capi__` of SciPy's modules cython_lapack and cython_blas. file: that of cython_blas, which "
      "is linked to the library. Only the first call counts. "
      "Raises ImportError if their integers do not have 32 bits.");
}
