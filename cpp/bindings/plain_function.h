#ifndef TFMINIMIZE_BINDINGS_PLAIN_FUNCTION_H_
#define TFMINIMIZE_BINDINGS_PLAIN_FUNCTION_H_

#include <cxxabi.h>
#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace tfminimize::bindings {

namespace py = pybind11;

// These are for functions that call back into the user's Python. pybind11 keeps a stack of each thread's calls and ends
// the process if a call returns out of order. Calls do return out of order if the user's code switches greenlets
// (gevent). So these functions are plain C functions of Python, and pybind11 only converts their arguments.

/// The name of a parameter, and whether the caller must give it.
struct Parameter {
  const char* name;
  bool is_required = true;
};

namespace detail {

[[noreturn]] inline void fail_call(const std::string& name, const std::string& what) {
  throw py::type_error(name + "() " + what + ".");
}

/// A C++ function as Python calls it.
template <typename Return, typename... Args>
class PlainFunction {
 public:
  using Function = Return (*)(Args...);
  using Parameters = std::array<Parameter, sizeof...(Args)>;

  PlainFunction(const char* name, Function function, const Parameters& parameters, std::string doc)
      : name_(name), function_(function), parameters_(parameters), doc_(std::move(doc)) {
    definition_.ml_name = name;
    definition_.ml_meth = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call));
    definition_.ml_flags = METH_VARARGS | METH_KEYWORDS;
    definition_.ml_doc = doc_.c_str();
  }

  /// Makes the Python object that owns `function`.
  static py::object make(std::unique_ptr<PlainFunction> function) {
    PyMethodDef* definition = &function->definition_;
    const py::capsule self(function.get(), [](void* pointer) {
      const std::unique_ptr<PlainFunction> last(static_cast<PlainFunction*>(pointer));
    });
    static_cast<void>(function.release());  // the capsule owns it now
    return py::reinterpret_steal<py::object>(PyCFunction_New(definition, self.ptr()));
  }

 private:
  using Given = std::array<py::handle, sizeof...(Args)>;

  static PyObject* call(PyObject* self, PyObject* args, PyObject* kwargs) {
    try {
      const auto* function = static_cast<const PlainFunction*>(PyCapsule_GetPointer(self, nullptr));
      return function->convert(function->sort(args, kwargs), std::index_sequence_for<Args...>()).release().ptr();
    } catch (const abi::__forced_unwind&) {
      throw;  // the end of this thread
    } catch (...) {
      py::detail::try_translate_exceptions();
      return nullptr;
    }
  }

  /// The arguments in the order of the parameters; null for one that is not given.
  Given sort(PyObject* args, PyObject* kwargs) const {
    Given given{};
    const auto count = static_cast<std::size_t>(PyTuple_GET_SIZE(args));
    if (count > given.size()) {
      fail("takes " + std::to_string(given.size()) + " arguments, not " + std::to_string(count));
    }
    for (std::size_t i = 0; i < count; ++i) given[i] = PyTuple_GET_ITEM(args, static_cast<Py_ssize_t>(i));
    if (kwargs != nullptr) {
      for (const auto& [key, value] : py::reinterpret_borrow<py::dict>(kwargs)) {
        given[index(py::str(key), given)] = value;
      }
    }
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (!given[i] && parameters_[i].is_required) fail(std::string("needs the argument ") + parameters_[i].name);
    }
    return given;
  }

  std::size_t index(const std::string& keyword, const Given& given) const {
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (keyword != parameters_[i].name) continue;
      if (given[i]) fail("got the argument " + keyword + " twice");
      return i;
    }
    fail("has no parameter " + keyword);
  }

  template <std::size_t... i>
  py::object convert(const Given& given, std::index_sequence<i...> /*places*/) const {
    std::tuple<py::detail::make_caster<Args>...> casters;
    (load(std::get<i>(casters), given[i], parameters_[i]), ...);
    if constexpr (std::is_void_v<Return>) {
      function_(py::detail::cast_op<Args>(std::get<i>(casters))...);
      return py::none();
    } else if constexpr (std::is_base_of_v<py::object, Return>) {
      return function_(py::detail::cast_op<Args>(std::get<i>(casters))...);
    } else {
      return py::cast(function_(py::detail::cast_op<Args>(std::get<i>(casters))...));
    }
  }

  template <typename Caster>
  void load(Caster& caster, py::handle given, const Parameter& parameter) const {
    if (!given && !parameter.is_required) given = Py_None;
    // pybind11 would convert None to a null pointer to any C++ object, unless conversions are forbidden.
    if (caster.load(given, !given.is_none())) return;
    fail(std::string("cannot take a ") + Py_TYPE(given.ptr())->tp_name + " as " + parameter.name);
  }

  [[noreturn]] void fail(const std::string& what) const { fail_call(name_, what); }

  const char* name_;
  Function function_;
  Parameters parameters_;
  std::string doc_;
  PyMethodDef definition_{};
};

}  // namespace detail

/// Makes a plain Python function. An optional argument that is not given is None.
template <typename Return, typename... Args>
py::object plain_function(const char* name, Return (*function)(Args...),
                          const std::array<Parameter, sizeof...(Args)>& parameters, std::string doc) {
  using Plain = detail::PlainFunction<Return, Args...>;
  return Plain::make(std::make_unique<Plain>(name, function, parameters, std::move(doc)));
}

/// Adds such a function to a class as a method; its first parameter is the object.
template <typename Return, typename... Args>
void add_plain_method(const py::object& type, const char* name, Return (*function)(Args...),
                      const std::array<Parameter, sizeof...(Args)>& parameters, std::string doc) {
  const py::object plain = plain_function(name, function, parameters, std::move(doc));
  type.attr(name) = py::reinterpret_steal<py::object>(PyInstanceMethod_New(plain.ptr()));
}

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_PLAIN_FUNCTION_H_
