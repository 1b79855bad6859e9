#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/call.h"
#include "bindings/objective.h"
#include "objectives/constraint_rows.h"
#include "objectives/data_sum.h"

namespace tfminimize::bindings {
namespace {

using Calls = std::vector<std::shared_ptr<PyCall>>;

/// The calls of one kind of batch: values and derivatives, only the latter, or none.
struct Part {
  const Calls& calls;
  const char* name;
  std::size_t rows;  ///< That the functions take.
};

/// What stands for so many rows of each tensor until the DataSum chooses them; it does not keep the data alive.
std::vector<InputTensor> places(const std::vector<DataTensor>& data, const Batches& batches, std::size_t rows) {
  std::vector<InputTensor> result;
  result.reserve(data.size());
  for (const DataTensor& one : data) {
    result.push_back({nullptr, one.tensor.dtype, one.tensor.bytes / batches.rows * rows});
  }
  return result;
}

class PyDataSum final : public PyObjective {
 public:
  PyDataSum(py::capsule context, std::shared_ptr<PyCall> call, std::unique_ptr<DataSum> core)
      : context_(std::move(context)), call_(std::move(call)), core_(std::move(core)) {}

  bool can_be_cancelled() const override { return true; }

  void check_rows(std::size_t m, Span<const double> offsets) const override { rows_.check_complete(m, offsets); }

  void set_input(std::size_t position, const py::object& tensor, std::optional<std::size_t> function) {
    if (function && *function >= core_->num_functions()) {
      throw py::value_error("function is " + std::to_string(*function) + ", and there are " +
                            std::to_string(core_->num_functions()) + ".");
    }
    const InputTensor input = call_->tensor(context_, tensor, "input " + std::to_string(position));
    check_idle();  // now, since another thread may begin a solve while tensor() waits without the GIL
    if (function) {
      core_->set_input(position, input, *function);
    } else {
      core_->set_input(position, input);
    }
  }

  void set_rows(const std::vector<ConstraintRow>& rows) {
    check_idle();
    rows_.set(rows);
  }

  py::array_t<double> sums() const {
    const Span<const double> sums = core_->sums();
    return py::array_t<double>(static_cast<py::ssize_t>(sums.size()), sums.data());
  }

  std::size_t num_threads() const { return core_->num_threads(); }

 private:
  Objective& begin(const py::array& /*x*/) override { return *core_; }

  py::capsule context_;
  std::shared_ptr<PyCall> call_;
  std::unique_ptr<DataSum> core_;
  ConstraintRows rows_{{}, 0};  ///< None; all constraints are linear.
};

void check(const Part& part, std::size_t num_data) {
  for (const std::shared_ptr<PyCall>& call : part.calls) {
    if (!call) throw py::type_error(std::string(part.name) + " holds None; it must hold XlaCalls.");
    if (call->is_tensorflows()) throw py::type_error(std::string(part.name) + " must hold XlaCalls.");
    if (call->missing().size() != num_data) {
      throw py::value_error("An XlaCall of " + std::string(part.name) + " has " +
                            std::to_string(call->missing().size()) + " inputs that are None, and there are " +
                            std::to_string(num_data) + " tensors of data.");
    }
  }
}

std::unique_ptr<PyDataSum> make(const py::capsule& context, const Calls& batch, const Calls& last, const Calls& penalty,
                                const std::vector<Component>& components, const std::vector<py::object>& data,
                                std::size_t rows, std::size_t batch_size, bool is_mean, std::size_t num_sums) {
  if (batch.empty()) throw py::value_error("batch is empty; it must hold one function, or two.");
  if (rows == 0 || batch_size == 0) throw py::value_error("rows and batch_size must be at least 1.");
  const Batches batches{rows, batch_size, is_mean, num_sums};
  const Part parts[] = {
      {batch, "batch", batch_size}, {last, "last", batches.remainder()}, {penalty, "penalty", batch_size}};
  for (const Part& part : parts) {
    check(part, data.size());
    if (part.calls.size() != batch.size() && !part.calls.empty()) {
      throw py::value_error(std::string(part.name) + " must hold as many calls as batch.");
    }
  }
  std::vector<DataTensor> tensors;
  const std::vector<std::size_t> positions = batch.front()->missing();
  for (std::size_t i = 0; i < data.size(); ++i) {
    tensors.push_back({positions[i], batch.front()->tensor(context, data[i], "data[" + std::to_string(i) + "]")});
    if (tensors.back().tensor.bytes % rows != 0) {
      throw py::value_error("data[" + std::to_string(i) + "] does not have " + std::to_string(rows) + " rows.");
    }
  }
  const auto maker = [&](const Part& part, std::size_t i) {
    if (part.calls.empty()) return MakeFunction();
    return part.calls[i]->maker(context, std::string(part.name) + ": ", places(tensors, batches, part.rows));
  };
  std::vector<BatchFunctions> functions;
  functions.reserve(batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    functions.push_back({maker(parts[0], i), maker(parts[1], i), maker(parts[2], i)});
  }
  return std::make_unique<PyDataSum>(
      context, batch.front(), std::make_unique<DataSum>(components, batches, std::move(tensors), std::move(functions)));
}

}  // namespace

void register_data_sum(py::module_& m) {
  py::class_<PyDataSum, PyObjective>(m, "DataSum", py::is_final(),
                                     R"(Machine code of a loss, called batch by batch in several threads.

batch:    the function of a batch of batch_size rows, or two functions: values and derivatives
last:     as many, of the smaller last batch; none if batch_size divides rows
penalty:  as many, added once; none without a penalty

values:       loss (a float64 scalar), sums (float64 [num_sums])
derivatives:  loss, one gradient for each component, in its dtype, sums

All are XlaCalls that take the same inputs. Those that are None are rows of the tensors in data, in their order. If
is_mean, the loss of a batch has the weight of its rows, and the sum is divided by all rows. Sums are always added as
they are; the penalty has none. The bits do not depend on the number of threads.)")
      .def(py::init(&make), py::arg("context"), py::kw_only(), py::arg("batch"), py::arg("last"), py::arg("penalty"),
           py::arg("components"), py::arg("data"), py::arg("rows"), py::arg("batch_size"), py::arg("is_mean"),
           py::arg("num_sums") = 0)
      .def_property_readonly("num_threads", &PyDataSum::num_threads, "In how many threads an evaluation runs now.")
      .def_property_readonly("sums", &PyDataSum::sums,
                             "A copy of the sums of the last evaluation: read it in a callback, or between solves.")
      .def(
          "set_input", &PyDataSum::set_input, py::arg("position"), py::arg("tensor"), py::arg("function") = py::none(),
          "Passes another tensor of the same dtype and size from now on: data, or else an input of all functions or of "
          "one. They are numbered: batch, last, penalty.")
      .def("set_rows", &PyDataSum::set_rows, py::arg("rows"), "Takes no rows, as there are no constraint functions.");
}

}  // namespace tfminimize::bindings
