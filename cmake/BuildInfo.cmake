# Writes a JSON file that says what was built, and from what. tfminimize.build_info() reads it at run time.

function(tfminimize_write_build_info path)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" config)
  set(flags "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${config}}")
  string(STRIP "${flags}" flags)
  set(info "{}")
  foreach(
    pair IN
    ITEMS "version=${tfminimize_full_version}"
          "tensorflow=${TensorFlow_VERSION}"
          "nanort=${TensorFlow_HAS_NANORT}"
          "python=${Python_VERSION}"
          "pybind11=${pybind11_VERSION}"
          "compiler=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
          "flags=${flags}"
          "sanitize=${TFMINIMIZE_SANITIZE}"
          "build_type=${CMAKE_BUILD_TYPE}"
          "system=${CMAKE_SYSTEM_NAME} ${CMAKE_SYSTEM_PROCESSOR}")
    string(REGEX MATCH "^[^=]*" key "${pair}")
    string(REGEX REPLACE "^[^=]*=" "" value "${pair}")
    string(REPLACE "\\" "\\\\" value "${value}")
    string(REPLACE "\"" "\\\"" value "${value}")
    string(JSON info SET "${info}" "${key}" "\"${value}\"")
  endforeach()
  file(CONFIGURE OUTPUT "${path}" CONTENT "${info}\n" @ONLY)
endfunction()
