#ifndef TFMINIMIZE_BINDINGS_REDUCED_H_
#define TFMINIMIZE_BINDINGS_REDUCED_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "bindings/objective.h"
#include "bindings/side_thread.h"
#include "objectives/limited.h"
#include "objectives/reduced.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// A Reduced objective as Python holds it.
class PyReduced final : public PyObjective {
 public:
  /// Keep `inner` alive.
  PyReduced(PyObjective& inner, std::shared_ptr<SideThread> thread, py::function sum, std::size_t rank,
            std::size_t size, bool is_mean, double rows, bool counts_rows)
      : inner_(inner),
        thread_(std::move(thread)),
        sum_(std::move(sum)),
        share_{rank, size, is_mean, rows, counts_rows} {}

  bool can_be_cancelled() const override { return inner_.can_be_cancelled(); }
  void check_rows(std::size_t m, Span<const double> offsets) const override { inner_.check_rows(m, offsets); }

  void attend() override { inner_.attend(); }

  void fail(const py::object& error, const py::array& x);

  std::int64_t rounds() const { return rounds_; }
  bool has_ended() const { return has_ended_; }
  bool has_failed() const { return has_failed_; }

 private:
  Objective& begin(const py::array& x) override;
  void end() override;
  void sum(Span<double> buffer);

  PyObjective& inner_;
  std::shared_ptr<SideThread> thread_;
  py::function sum_;
  Share share_;
  std::int64_t rounds_ = 0;
  bool has_ended_ = false;
  bool has_failed_ = false;
  std::optional<ObjectiveUse> use_;
  std::optional<Limited> limited_;
  std::unique_ptr<Reduced> core_;
};

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_REDUCED_H_
