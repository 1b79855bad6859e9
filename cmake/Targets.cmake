# Functions that turn the folders of cpp/ into targets.

include(CheckCXXCompilerFlag)

# tfminimize_common(<target> [NO_SANITIZER])
# Sets the options that every target is compiled with. A target that links to TensorFlow takes no sanitizer, because the
# inline functions in TensorFlow's headers must be the same as in its binary.
function(tfminimize_common target)
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/cpp")
  target_compile_options(
    ${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
                      -Wno-sign-conversion -Wold-style-cast $<$<BOOL:${TFMINIMIZE_WERROR}>:-Werror>)
  # Errors name the source file that reports them. Those of a wheel do so without the folders of the machine that built it.
  if(SKBUILD)
    target_compile_options(${target} PRIVATE -fmacro-prefix-map=${CMAKE_CURRENT_SOURCE_DIR}/=
                                             -fmacro-prefix-map=${TensorFlow_INCLUDE_DIR}/=)
  endif()
  if(TFMINIMIZE_SANITIZE AND NOT "NO_SANITIZER" IN_LIST ARGN)
    target_compile_options(${target} PRIVATE -fsanitize=${TFMINIMIZE_SANITIZE} -fno-sanitize-recover=all
                                             -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${TFMINIMIZE_SANITIZE})
  endif()
endfunction()

# tfminimize_add_library(<name> <source>... [LINK <target>...] [OPTIONS <option>...])
# Compiles each cpp/<source>.cc into the static library tfminimize_<name>.
function(tfminimize_add_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK;OPTIONS")
  set(target tfminimize_${name})
  tfminimize_sources(sources ${arg_UNPARSED_ARGUMENTS})
  add_library(${target} STATIC ${sources})
  tfminimize_common(${target})
  target_compile_options(${target} PRIVATE ${arg_OPTIONS})
  target_link_libraries(${target} PUBLIC ${arg_LINK})
endfunction()

# tfminimize_sources(<variable> <source>...)
# Sets the variable to the paths of the cpp/<source>.cc.
function(tfminimize_sources variable)
  list(TRANSFORM ARGN PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/cpp/")
  list(TRANSFORM ARGN APPEND ".cc")
  set(${variable} ${ARGN} PARENT_SCOPE)
endfunction()

# tfminimize_add_levels(<library> <source>... [OPTIONS <option>...])
# Compiles each cpp/<source>.cc once for every level of the processor. TFMINIMIZE_LEVEL is the name of the level, and the
# source uses it as a namespace. The library chooses a level at run time. The levels of x86-64 are v1, v3 and v4; another
# kind of processor has only v1, which is what the compiler takes for the least of them.
#
# If several files define the same inline function, the linker keeps one, which could be that of the highest level. So
# these sources must not define an inline function that another file also defines. CheckLevels.cmake checks it in every
# build, except with sanitizers, which add such symbols of their own.
function(tfminimize_add_levels library)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "OPTIONS")
  tfminimize_sources(sources ${arg_UNPARSED_ARGUMENTS})
  set(levels v1)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    set(levels v1 v3 v4)
    set(march_v1 -march=x86-64)
    set(march_v3 -march=x86-64-v3)
    set(march_v4 -march=x86-64-v4)
    check_cxx_compiler_flag(${march_v4} TFMINIMIZE_COMPILER_KNOWS_LEVELS)
    if(NOT TFMINIMIZE_COMPILER_KNOWS_LEVELS)
      message(FATAL_ERROR "${CMAKE_CXX_COMPILER} (${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}) does not know "
                          "${march_v4}. g++ 11 and clang++ 12 do: set CXX to one of them, or to a later one.")
    endif()
  endif()
  foreach(level IN LISTS levels)
    set(target tfminimize_${library}_${level})
    add_library(${target} OBJECT ${sources})
    tfminimize_common(${target})
    target_compile_options(${target} PRIVATE ${march_${level}} ${arg_OPTIONS})
    target_compile_definitions(${target} PRIVATE TFMINIMIZE_LEVEL=${level})
    target_sources(tfminimize_${library} PRIVATE $<TARGET_OBJECTS:${target}>)
    list(APPEND objects "$<JOIN:$<TARGET_OBJECTS:${target}>,,>")
  endforeach()
  if(NOT TFMINIMIZE_SANITIZE)
    list(JOIN objects "," objects)
    add_custom_command(
      TARGET tfminimize_${library} PRE_LINK VERBATIM COMMAND "${CMAKE_COMMAND}" -DNM=${CMAKE_NM} -DOBJECTS=${objects} -P
                                                             "${CMAKE_CURRENT_SOURCE_DIR}/cmake/CheckLevels.cmake")
  endif()
endfunction()

# tfminimize_add_extension(<name> <source>... [NO_SANITIZER] [LINK <target>...])
# Compiles each cpp/<source>.cc into a Python extension and installs it into the package.
function(tfminimize_add_extension name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "NO_SANITIZER" "" "LINK")
  set(PYBIND11_FINDPYTHON ON)
  find_package(pybind11 CONFIG QUIET)
  if(NOT pybind11_FOUND)
    execute_process(COMMAND "${Python_EXECUTABLE}" -m pybind11 --cmakedir OUTPUT_VARIABLE pybind11_ROOT
                    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    find_package(pybind11 CONFIG REQUIRED)
  endif()
  set(pybind11_VERSION "${pybind11_VERSION}" PARENT_SCOPE)
  tfminimize_sources(sources ${arg_UNPARSED_ARGUMENTS})
  pybind11_add_module(${name} MODULE ${sources})
  set(sanitizer "")
  if(arg_NO_SANITIZER)
    set(sanitizer NO_SANITIZER)
  endif()
  tfminimize_common(${name} ${sanitizer})
  target_precompile_headers(${name} PRIVATE <pybind11/numpy.h> <pybind11/stl.h>)
  target_link_libraries(${name} PRIVATE ${arg_LINK})
  # Hide the symbols of static libraries, which could have the same names as TensorFlow's.
  target_link_options(${name} PRIVATE LINKER:--exclude-libs,ALL)
  install(TARGETS ${name} LIBRARY DESTINATION tfminimize)
endfunction()

# tfminimize_add_op_library(<name> <source>... [LINK <target>...])
# Compiles each cpp/<source>.cc into a library of TensorFlow operations, which Python loads with tf.load_op_library.
#
# It is not built for the sanitizers. TensorFlow is not either, and the containers in its headers must be compiled in the
# same way.
function(tfminimize_add_op_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK")
  if(TFMINIMIZE_SANITIZE)
    return()
  endif()
  tfminimize_sources(sources ${arg_UNPARSED_ARGUMENTS})
  add_library(${name} MODULE ${sources})
  tfminimize_common(${name})
  target_precompile_headers(${name} PRIVATE <tensorflow/core/framework/op_kernel.h>
                                            <tensorflow/core/framework/resource_mgr.h>)
  target_link_libraries(${name} PRIVATE ${arg_LINK} TensorFlow::framework)
  target_link_options(${name} PRIVATE LINKER:--exclude-libs,ALL)
  # Python has already loaded TensorFlow's library, and the loader takes that one. The path is where pip installs it.
  set_target_properties(${name} PROPERTIES PREFIX "" INSTALL_RPATH "$ORIGIN/../tensorflow")
  install(TARGETS ${name} LIBRARY DESTINATION tfminimize)
endfunction()

# tfminimize_add_tests(<folder>)
# Compiles cpp/tests/<folder>/**/*_test.cc into one executable, which is one test and writes its report to <folder>.xml.
# The target cpp_tests builds all of them.
function(tfminimize_add_tests folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/cpp/tests/${folder}/*_test.cc")
  if(NOT sources)
    return()
  endif()
  set(target tfminimize_${folder}_test)
  add_executable(${target} ${sources})
  tfminimize_common(${target})
  target_compile_options(${target} PRIVATE -ffp-contract=off) # the functions of the tests have the same bits everywhere
  target_link_libraries(${target} PRIVATE tfminimize_${folder} GTest::gtest GTest::gmock GTest::gtest_main)
  add_test(NAME ${folder} COMMAND ${target} --gtest_brief=1 "--gtest_output=xml:${folder}.xml")
  add_dependencies(cpp_tests ${target})
endfunction()

# tfminimize_define_border_id(BINARIES <target>... HEADERS <header>...)
# Defines TFMINIMIZE_BORDER_ID, a string that changes with the headers and the compiler. If two binaries have different
# strings, they must not pass each other objects of the headers' classes.
function(tfminimize_define_border_id)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "BINARIES;HEADERS")
  set(id "${PROJECT_VERSION} ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_CXX_FLAGS}")
  foreach(header IN LISTS arg_HEADERS)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${header}")
    file(SHA256 "${CMAKE_CURRENT_SOURCE_DIR}/${header}" hash)
    string(APPEND id " ${hash}")
  endforeach()
  string(SHA256 id "${id}")
  string(SUBSTRING "${id}" 0 16 id)
  foreach(binary IN LISTS arg_BINARIES)
    if(TARGET ${binary})
      target_compile_definitions(${binary} PRIVATE TFMINIMIZE_BORDER_ID="${id}")
    endif()
  endforeach()
endfunction()
