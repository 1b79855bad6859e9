#ifndef TFMINIMIZE_BINDINGS_FUNCTION_ARGUMENTS_H_
#define TFMINIMIZE_BINDINGS_FUNCTION_ARGUMENTS_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "tfe/function_call.h"
#include "tfe/tfe_api.h"

namespace tfminimize {

namespace py = pybind11;

/// TensorFlow's dtype of this name; throws py::value_error for all but 'float64' and 'float32'.
TF_DataType parse_dtype(const std::string& dtype, const std::string& name);

/// TensorFlow's context in its capsule; throws py::type_error for another capsule.
TFE_Context* parse_context(const py::capsule& context);

/// A function of TensorFlow, and how it is called, as Python describes it.
struct PyFunctionCall {
  std::vector<CallOptions> calls;
  py::tuple inputs;
  bool repeatable = false;
  bool keeps_inputs = false;
  std::optional<py::function> make_error;

  /// What to make the FunctionCall of. Throws py::type_error for an input that cannot be passed, in a sentence that
  /// begins with `prefix`.
  FunctionOptions options(const std::string& prefix = "") const;

  /// Throws the Python exception for an error of the function.
  [[noreturn]] void fail(const TensorFlowError& error) const;
};

/// Throws py::value_error for a dispatch that does not exist or needs a function that is not given.
PyFunctionCall make_function_call(const py::bytes& function, const py::sequence& inputs, const std::string& dispatch,
                                  const py::bytes& config_proto, const std::string& executor_type,
                                  const std::string& device, const py::bytes& optimized, bool repeatable,
                                  bool keeps_inputs, std::optional<py::function> make_error);

/// "function" or "partitioned_call".
const char* name_of(Dispatch dispatch);

/// Calls evaluate(), and returns what it throws if that is an error of TensorFlow: outside of the handler, Python may
/// be called, which may switch to another stack that handles exceptions.
std::optional<TensorFlowError> tensorflow_error(const std::function<void()>& evaluate);

/// Lets TensorFlow keep the memory of an array alive, for one scope.
template <typename Function>
class Owner {
 public:
  Owner(Function& function, const py::array& x) : function_(function) { function_.set_owner(keep_alive(x)); }
  ~Owner() { function_.set_owner(nullptr); }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

 private:
  Function& function_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_FUNCTION_ARGUMENTS_H_
