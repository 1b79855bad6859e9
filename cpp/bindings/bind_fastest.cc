#include <pybind11/stl.h>

#include <list>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/objective.h"
#include "objectives/fastest.h"
#include "objectives/race.h"

namespace tfminimize::bindings {
namespace {

class PyFastest final : public PyObjective {
 public:
  PyFastest(std::shared_ptr<Race> race, double tolerance, py::function attend)
      : race_(std::move(race)), attend_(std::move(attend)), core_(race_, tolerance) {}

  bool can_be_cancelled() const override {
    for (const Way& way : ways_) {
      if (way.objective != nullptr && way.objective->can_be_cancelled()) return true;
    }
    return false;
  }

  void check_rows(std::size_t m, Span<const double> offsets) const override {
    for (const Way& way : ways_) {
      if (is_used(way)) way.objective->check_rows(m, offsets);
    }
  }

  void attend() override {
    if (race_->is_due() || ways_.size() < race_->size()) attend_();
  }

  void add(const std::optional<py::object>& objective, std::size_t first_input) {
    Way way{race_->size(), first_input, objective.value_or(py::none()), nullptr};
    if (ways_.size() >= way.number) throw py::value_error("All ways of the race are here already.");
    way.number = ways_.size();
    if (objective) way.objective = objective->cast<PyObjective*>();
    ways_.push_back(way);
    used_ |= std::uint32_t{1} << way.number;
    if (x_) begin(ways_.back());
  }

  void use(std::uint32_t ways) {
    check_idle();
    used_ = ways;
  }

  py::object sums() const { return last().attr("sums"); }
  py::object arrays() const { return last().attr("arrays")(); }

 private:
  struct Way {
    std::size_t number;
    std::size_t first_input;
    py::object owner;
    PyObjective* objective;
  };

  /// The way that the last evaluation has taken.
  py::object last() const {
    if (core_.last() >= ways_.size()) throw py::value_error("There is no way yet.");
    return ways_[core_.last()].owner;
  }
  bool is_used(const Way& way) const { return way.objective != nullptr && (used_ >> way.number & 1) != 0; }

  void begin(const Way& way) {
    if (is_used(way)) core_.add(way.number, uses_.emplace_back(*way.objective, *x_).core(), way.first_input);
  }

  Objective& begin(const py::array& x) override {
    x_ = x;
    core_.clear();
    try {
      for (const Way& way : ways_) begin(way);
    } catch (...) {
      end();
      throw;
    }
    return core_;
  }

  void end() override {
    x_.reset();
    uses_.clear();
  }

  std::shared_ptr<Race> race_;
  py::function attend_;
  Fastest core_;
  std::vector<Way> ways_;
  std::uint32_t used_ = ~std::uint32_t{0};
  std::optional<py::array> x_;    ///< While it is used.
  std::list<ObjectiveUse> uses_;  ///< Of the ways, at the same time.
};

void register_race(py::module_& m) {
  py::class_<Race, std::shared_ptr<Race>>(m, "Race", py::is_final(),
                                          R"(Finds the fastest of several ways to evaluate the same functions.

All Fastest objectives of the same functions share one, also in many threads. It is due for attention after the first
evaluation, and then when it has been told: wait(seconds), call().)")
      .def(py::init<>())
      .def("add", &Race::add, "A way joins; returns its number. All but the first are checked before they are raced.")
      .def("refuse", &Race::refuse, py::arg("way"), "Takes a way out of the race.")
      .def("is_refused", &Race::is_refused, py::arg("way"),
           "Whether it is out, because its results differ or by refuse().")
      .def("needed", &Race::needed, py::arg("in_batch"), "The ways that a solve, or a batch, may need next: a mask.")
      .def(
          "report",
          [](const Race& race, bool in_batch) {
            Race::Report report = race.report(in_batch);
            return py::make_tuple(report.way, report.is_settled, std::move(report.seconds));
          },
          py::arg("in_batch"),
          "(fastest way so far, whether that is settled, seconds of an evaluation by each way), of what has taken most "
          "time; infinite for ways that were not timed.")
      .def("wait", &Race::wait, py::arg("seconds"), "Is due for attention when evaluations have taken so long in all.")
      .def("call", &Race::call, "Is due for attention now.")
      .def("attended", &Race::attended, "Has got attention.")
      .def_property_readonly("is_due", &Race::is_due, "Whether it is due for attention.")
      .def_property_readonly("seconds", &Race::seconds, "Of all evaluations that were timed.");
}

}  // namespace

void register_fastest(py::module_& m) {
  register_race(m);
  py::class_<PyFastest, PyObjective>(m, "Fastest", py::is_final(),
                                     R"(Evaluates the fastest of several objectives, which take turns in a race first.

All evaluate the same functions in the same memory. Results of two ways agree if they differ by `tolerance`, relatively.
attend() is called in the thread that drives, at most between two evaluations, when the race is due or has ways that are
not here yet. It may add them.)")
      .def(py::init<std::shared_ptr<Race>, double, py::function>(), py::arg("race"), py::arg("tolerance"),
           py::arg("attend"))
      .def("add", &PyFastest::add, py::arg("objective"), py::arg("first_input") = 0,
           "Adds the objective of the next way of the race; None if there is none here. Positions of batched inputs "
           "count "
           "from first_input. It may be called during a solve.")
      .def("use", &PyFastest::use, py::arg("ways"), "From now on, only these ways are used: a mask.")
      .def_property_readonly("sums", &PyFastest::sums, "The sums of the last evaluation.")
      .def("arrays", &PyFastest::arrays, "The arrays of the last evaluation of values.");
}

}  // namespace tfminimize::bindings
