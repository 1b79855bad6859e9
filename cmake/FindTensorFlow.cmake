# Finds the TensorFlow wheel that belongs to Python_EXECUTABLE.
#
# Defines TensorFlow_VERSION, TensorFlow_INCLUDE_DIR, TensorFlow_HAS_NANORT (whether it contains the runtime of machine code
# that C++ can call, as it does since 2.21) and these targets:
#
#   TensorFlow::headers     only the headers, for code that looks up functions in the TensorFlow that Python has imported
#   TensorFlow::framework   the library that operations and kernels link to
#   TensorFlow::cc          the library with everything else, including XLA
#
# A binary that links to one of the last two works only with this minor version of TensorFlow.
#
# We look TensorFlow up instead of importing it, because an import takes seconds and may fail on a machine that only
# builds.

if(NOT Python_EXECUTABLE)
  message(FATAL_ERROR "FindTensorFlow needs find_package(Python COMPONENTS Interpreter) before it.")
endif()

set(_TensorFlow_query "
import importlib.metadata, importlib.util, pathlib
spec = importlib.util.find_spec('tensorflow')
folders = spec.submodule_search_locations if spec else None
print(pathlib.Path(folders[0], 'include').as_posix() if folders else '')
try:
    print(importlib.metadata.version('tensorflow'))
except importlib.metadata.PackageNotFoundError:
    print('')
")
execute_process(
  COMMAND "${Python_EXECUTABLE}" -c "${_TensorFlow_query}"
  OUTPUT_VARIABLE _TensorFlow_answer
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ";" _TensorFlow_answer "${_TensorFlow_answer}")
set(TensorFlow_INCLUDE_DIR "")
set(TensorFlow_VERSION "")
list(LENGTH _TensorFlow_answer _TensorFlow_lines)
if(_TensorFlow_lines EQUAL 2)
  list(GET _TensorFlow_answer 0 TensorFlow_INCLUDE_DIR)
  list(GET _TensorFlow_answer 1 TensorFlow_VERSION)
endif()
if(NOT EXISTS "${TensorFlow_INCLUDE_DIR}/tensorflow/c/eager/c_api.h")
  set(TensorFlow_INCLUDE_DIR "")
endif()

set(TensorFlow_HAS_NANORT OFF)
if(EXISTS "${TensorFlow_INCLUDE_DIR}/xla/backends/cpu/nanort/nanort_client.h")
  set(TensorFlow_HAS_NANORT ON)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  TensorFlow
  REQUIRED_VARS TensorFlow_INCLUDE_DIR
  VERSION_VAR TensorFlow_VERSION HANDLE_VERSION_RANGE
  REASON_FAILURE_MESSAGE "install it for ${Python_EXECUTABLE} (pip install 'tensorflow==2.21.*')")

if(TensorFlow_FOUND AND NOT TARGET TensorFlow::headers)
  add_library(TensorFlow::headers INTERFACE IMPORTED)
  # The headers of an imported target are SYSTEM, so they cause no warnings.
  target_include_directories(TensorFlow::headers INTERFACE "${TensorFlow_INCLUDE_DIR}")

  # These definitions are those of the wheel: inline code in its headers must be compiled in the same way.
  add_library(TensorFlow::framework SHARED IMPORTED)
  set_target_properties(
    TensorFlow::framework
    PROPERTIES IMPORTED_LOCATION "${TensorFlow_INCLUDE_DIR}/../libtensorflow_framework.so.2"
               IMPORTED_SONAME libtensorflow_framework.so.2)
  target_link_libraries(TensorFlow::framework INTERFACE TensorFlow::headers)
  target_compile_definitions(TensorFlow::framework INTERFACE NDEBUG _GLIBCXX_USE_CXX11_ABI=1 EIGEN_MAX_ALIGN_BYTES=64)
  add_library(TensorFlow::cc SHARED IMPORTED)
  set_target_properties(TensorFlow::cc PROPERTIES IMPORTED_LOCATION "${TensorFlow_INCLUDE_DIR}/../libtensorflow_cc.so.2"
                                                  IMPORTED_SONAME libtensorflow_cc.so.2)
  target_link_libraries(TensorFlow::cc INTERFACE TensorFlow::framework)
endif()
