#ifndef TFMINIMIZE_BINDINGS_CALL_H_
#define TFMINIMIZE_BINDINGS_CALL_H_

#include <pybind11/pybind11.h>

#include <string>
#include <utility>
#include <vector>

#include "objectives/compiled_function.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// A compiled function and its inputs, as Python describes them.
class PyCall {
 public:
  explicit PyCall(py::tuple inputs) : inputs_(std::move(inputs)) {}
  virtual ~PyCall() = default;
  PyCall(const PyCall&) = delete;
  PyCall& operator=(const PyCall&) = delete;

  /// Returns what makes the function. `given` are the inputs that are None, in their order. Throws py::type_error for
  /// an input that cannot be passed, in a sentence that begins with `prefix`.
  virtual MakeFunction maker(const py::capsule& context, const std::string& prefix,
                             const std::vector<InputTensor>& given) const = 0;

  /// Converts an EagerTensor to an input of the function. Throws py::type_error for anything else, in a sentence that
  /// begins with `name`.
  virtual InputTensor tensor(const py::capsule& context, const py::object& tensor, const std::string& name) const = 0;

  /// Whether the function runs inside TensorFlow, rather than as bare machine code.
  virtual bool is_tensorflows() const = 0;

  /// The positions of the inputs that are None.
  std::vector<std::size_t> missing() const {
    std::vector<std::size_t> positions;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].is_none()) positions.push_back(i);
    }
    return positions;
  }

 protected:
  std::vector<CompiledFunction::Input> inputs(const py::capsule& context, const std::string& prefix,
                                              const std::vector<InputTensor>& given) const {
    std::vector<CompiledFunction::Input> inputs;
    std::size_t num_given = 0;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const py::object input = inputs_[i];
      if (input.is_none() && num_given < given.size()) {
        inputs.emplace_back(given[num_given++]);
      } else if (py::isinstance<py::int_>(input)) {
        inputs.emplace_back(input.cast<std::size_t>());
      } else {
        inputs.emplace_back(tensor(context, input, prefix + "input " + std::to_string(i)));
      }
    }
    return inputs;
  }

 private:
  py::tuple inputs_;
};

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_CALL_H_
