#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/call.h"
#include "bindings/objective.h"
#include "bindings/tensorflow.h"
#include "objectives/vectorized_functions.h"

namespace tfminimize::bindings {
namespace {

using Calls = std::vector<std::shared_ptr<PyCall>>;

/// The dtype and the shape of a batched input of one problem.
using Batched = std::vector<std::pair<py::dtype, std::vector<std::int64_t>>>;

/// What stands for so many rows of each batched input until a batch has them.
std::vector<InputTensor> places(const Batched& batched, std::size_t rows) {
  std::vector<InputTensor> result;
  for (const auto& [dtype, shape] : batched) {
    const std::optional<TF_DataType> number = number_dtype(dtype);
    if (!number) {
      throw py::value_error("A batched input has dtype " + std::string(py::str(dtype)) + ", which is no number.");
    }
    std::size_t bytes = static_cast<std::size_t>(dtype.itemsize()) * rows;
    for (const std::int64_t extent : shape) bytes *= static_cast<std::size_t>(extent);
    result.push_back({nullptr, *number, bytes});
  }
  return result;
}

class PyVectorObjective final : public PyObjective {
 public:
  PyVectorObjective(py::capsule context, std::shared_ptr<PyCall> call, std::unique_ptr<VectorizedFunctions> core)
      : context_(std::move(context)), call_(std::move(call)), core_(std::move(core)) {}

  bool can_be_cancelled() const override { return call_->is_tensorflows(); }

  void check_rows(std::size_t m, Span<const double> offsets) const override {
    core_->rows().check_complete(m, offsets);
  }

  void set_input(std::size_t position, const py::object& tensor, std::optional<std::size_t> function) {
    const InputTensor input = call_->tensor(context_, tensor, "input " + std::to_string(position));
    check_idle();  // now, since another thread may begin a solve while tensor() waits without the GIL
    core_->set_input(position, input, function);
  }

  void set_rows(const std::vector<ConstraintRow>& rows) {
    check_idle();
    core_->set_rows(rows);
  }

 private:
  Objective& begin(const py::array& /*x*/) override {
    if (call_->is_tensorflows()) wait_without_gil(context_);
    return *core_;
  }

  py::capsule context_;
  std::shared_ptr<PyCall> call_;
  std::unique_ptr<VectorizedFunctions> core_;
};

std::unique_ptr<PyVectorObjective> make(const py::capsule& context, const Calls& calls,
                                        const std::vector<Component>& components, std::size_t capacity,
                                        const std::vector<std::size_t>& sizes, const Batched& batched,
                                        std::size_t num_values, const std::string& loss_dtype,
                                        const std::string& values_dtype) {
  if (calls.empty()) throw py::value_error("calls is empty; it must hold one function, or one for each size.");
  const bool takes_any = calls.front() && calls.front()->is_tensorflows();
  std::vector<MakeFunction> functions;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (!calls[i]) throw py::type_error("calls[" + std::to_string(i) + "] is None; it must be a Call.");
    if (calls[i]->is_tensorflows() != takes_any || calls.size() != (takes_any ? 1 : sizes.size())) {
      throw py::value_error("calls must hold one FunctionCall, or an XlaCall for each of " +
                            std::to_string(sizes.size()) + " sizes.");
    }
    if (calls[i]->missing().size() != batched.size()) {
      throw py::value_error("A call has " + std::to_string(calls[i]->missing().size()) +
                            " inputs that are None, and there are " + std::to_string(batched.size()) +
                            " batched inputs.");
    }
    functions.push_back(calls[i]->maker(context, "", places(batched, takes_any ? 0 : sizes[i])));
  }
  const FunctionOutputs outputs{parse_dtype(loss_dtype, "loss_dtype"), parse_dtype(values_dtype, "values_dtype"),
                                num_values, 0};
  return std::make_unique<PyVectorObjective>(
      context, calls.front(),
      std::make_unique<VectorizedFunctions>(components, outputs, functions, sizes, capacity, takes_any));
}

}  // namespace

void register_vector_objective(py::module_& m) {
  py::class_<PyVectorObjective, PyObjective>(m, "VectorObjective", py::is_final(),
                                             R"(Compiled functions of several problems of a batch, for drive_in_step().

calls:     one FunctionCall, which takes any number of problems; or an XlaCall for each of sizes
sizes:     how many problems a call evaluates, in ascending order up to the capacity; fewer are filled up with copies of
           the first. Without sizes, as many as there are.
batched:   the dtype and the shape, for one problem, of each input that is None

They return: loss [rows], values [rows, num_values], one gradient [rows, ...] for each component, one Jacobian
[num_values, rows, ...] of the values for each component. See FunctionObjective for one problem.)")
      .def(py::init(&make), py::arg("context"), py::arg("calls"), py::arg("components"), py::kw_only(),
           py::arg("capacity"), py::arg("sizes"), py::arg("batched"), py::arg("num_values") = 0,
           py::arg("loss_dtype") = "float64", py::arg("values_dtype") = "float64")
      .def(
          "set_input", &PyVectorObjective::set_input, py::arg("position"), py::arg("tensor"),
          py::arg("function") = py::none(),
          "Passes another tensor of the same dtype and size from now on, to all functions or to the one at this index.")
      .def("set_rows", &PyVectorObjective::set_rows, py::arg("rows"), "Replaces all rows.");
}

}  // namespace tfminimize::bindings
