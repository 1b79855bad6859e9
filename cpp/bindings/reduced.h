#ifndef TFMINIMIZE_BINDINGS_REDUCED_H_
#define TFMINIMIZE_BINDINGS_REDUCED_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/objective.h"
#include "bindings/side_thread.h"
#include "objectives/limited.h"
#include "objectives/reduced.h"
#include "solvers/span.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// A Reduced objective as Python holds it.
class PyReduced final : public PyObjective {
 public:
  /// Keep `inner` alive.
  PyReduced(PyObjective& inner, std::shared_ptr<SideThread> thread, py::function sum, const Share& share,
            std::optional<py::function> on_shared, const std::optional<py::array>& shared)
      : inner_(inner),
        thread_(std::move(thread)),
        sum_(std::move(sum)),
        share_(share),
        on_shared_(std::move(on_shared)),
        shared_array_(shared.value_or(py::array_t<double>(0))),
        shared_(vector_span<double>(shared_array_, "shared", {false, true})) {}

  bool can_be_cancelled() const override { return inner_.can_be_cancelled(); }
  void check_rows(std::size_t m, Span<const double> offsets) const override { inner_.check_rows(m, offsets); }

  void attend() override { inner_.attend(); }

  void fail(const py::object& error, const py::array& x);

  std::int64_t rounds() const { return rounds_; }
  bool has_ended() const { return has_ended_; }
  bool has_failed() const { return has_failed_; }
  py::array_t<double> sums() const;

  /// See Callbacks::on_shared.
  const std::optional<py::function>& on_shared() const { return on_shared_; }
  Span<double> shared() const { return shared_; }

 private:
  Objective& begin(const py::array& x) override;
  void end() override;
  void sum(Span<double> buffer);

  PyObjective& inner_;
  std::shared_ptr<SideThread> thread_;
  py::function sum_;
  Share share_;
  std::optional<py::function> on_shared_;
  py::array shared_array_;
  Span<double> shared_;
  std::vector<double> sums_;  ///< Of the last solve.
  std::int64_t rounds_ = 0;
  bool has_ended_ = false;
  bool has_failed_ = false;
  std::optional<ObjectiveUse> use_;
  std::optional<Limited> limited_;
  std::unique_ptr<Reduced> core_;
};

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_REDUCED_H_
