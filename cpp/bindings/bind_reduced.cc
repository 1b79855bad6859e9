#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/gil.h"
#include "bindings/interrupt_watch.h"
#include "bindings/objective.h"
#include "bindings/reduced.h"
#include "bindings/tensorflow.h"

namespace tfminimize::bindings {

Objective& PyReduced::begin(const py::array& x) {
  use_.emplace(inner_, x);
  limited_.reset();
  if (inner_.ends_at_deadline) limited_.emplace(use_->core());
  Objective& own = limited_ ? static_cast<Objective&>(*limited_) : use_->core();
  core_ = std::make_unique<Reduced>(
      own, share_, [this](Span<double> buffer) { sum(buffer); }, &poll_signals);
  return *core_;
}

void PyReduced::end() {
  has_ended_ = core_->has_ended();
  has_failed_ = core_->has_failed();
  sums_.assign(core_->sums().begin(), core_->sums().end());
  core_.reset();
  limited_.reset();
  use_.reset();
}

/// Adds up, by a call of Python in the side thread. The caller does not hold the GIL.
void PyReduced::sum(Span<double> buffer) {
  thread_->run([&] {
    const py::array_t<double> array(static_cast<py::ssize_t>(buffer.size()), buffer.data(), py::none());
    sum_(array);
  });
  ++rounds_;
}

py::array_t<double> PyReduced::sums() const {
  const Span<const double> sums = core_ ? core_->sums() : Span<const double>(sums_);
  return py::array_t<double>(static_cast<py::ssize_t>(sums.size()), sums.data());
}

void PyReduced::fail(const py::object& error, const py::array& x) {
  const ObjectiveUse use(*this, x);
  core_->fail(exception_of([&] {
    PyErr_SetObject(py::type::handle_of(error).ptr(), error.ptr());
    throw py::error_already_set();
  }));
  const Span<const double> at = vector_span<double>(x, "x", {true, false});
  without_gil([&] { core_->agree(at); });
}

void register_reduced(py::module_& m) {
  py::register_exception<PeerFailed>(m, "PeerFailed", PyExc_RuntimeError);
  py::class_<PyReduced, PyObjective>(
      m, "Reduced", py::is_final(),
      R"(The sum, or the mean over all rows, of an objective that each process has for its own data.

drive() then runs the same solve in all processes. sum(buffer) adds up a float64 array over all of them, in place; it is
called in the side thread. With is_mean, the objective has the weight of its rows. With counts_rows, they are the last of
the sums that it returns; num_sums of the others are added up too. After each iteration all add up the float64 array
shared, if there is one, and call on_shared(); a true value stops the solve.

What one process raises ends the solve in all: those that have not failed raise PeerFailed.)")
      .def(py::init([](PyObjective& inner, std::shared_ptr<SideThread> thread, py::function sum, std::size_t rank,
                       std::size_t size, bool is_mean, double rows, bool counts_rows, std::size_t num_sums,
                       std::optional<py::function> on_shared, const std::optional<py::array>& shared) {
             const Share share{rank, size, is_mean, rows, counts_rows, num_sums};
             return std::make_unique<PyReduced>(inner, std::move(thread), std::move(sum), share, std::move(on_shared),
                                                shared);
           }),
           py::keep_alive<1, 2>(), py::arg("objective"), py::arg("thread"), py::arg("sum"), py::kw_only(),
           py::arg("rank"), py::arg("size"), py::arg("is_mean"), py::arg("rows"), py::arg("counts_rows") = false,
           py::arg("num_sums") = 0, py::arg("on_shared") = py::none(), py::arg("shared") = py::none())
      .def("fail", &PyReduced::fail, py::arg("error"), py::arg("x"),
           "Instead of drive(): takes part in its first round, and raises the error there in place of this process's "
           "solve.")
      .def_property_readonly("sums", &PyReduced::sums,
                             "A copy of what the last evaluation has added up: read it in a callback, or afterwards.")
      .def_property_readonly("rounds", &PyReduced::rounds, "How often all processes have added up.")
      .def_property_readonly("has_ended", &PyReduced::has_ended, "Whether the last solve has ended in all processes.")
      .def_property_readonly("has_failed", &PyReduced::has_failed,
                             "Whether it has ended with an exception in all processes.");
}

}  // namespace tfminimize::bindings
