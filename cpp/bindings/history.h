#ifndef TFMINIMIZE_BINDINGS_HISTORY_H_
#define TFMINIMIZE_BINDINGS_HISTORY_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "driver/history.h"
#include "solvers/span.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// The rows of all these records, one record after the other, as a dict of arrays.
inline py::dict columns(Span<const History> histories) {
  std::size_t size = 0;
  for (const History& history : histories) size += history.rows.size();
  py::dict dict;
  for_each_column([&](const char* name, auto member) {
    using T = std::decay_t<decltype(std::declval<History::Row>().*member)>;
    py::array_t<T> values(static_cast<py::ssize_t>(size));
    T* value = values.mutable_data();
    for (const History& history : histories) {
      for (const History::Row& row : history.rows) *value++ = row.*member;
    }
    dict[name] = values;
  });
  return dict;
}

/// A record that goes on from these columns, which may be empty. Throws py::value_error if they are not those of a
/// record.
inline std::unique_ptr<History> make_history(bool keeps_rows, double seconds, const py::dict& columns,
                                             bool keeps_latest) {
  auto history = std::make_unique<History>();
  history->keeps_rows = keeps_rows;
  history->keeps_latest = keeps_latest;
  history->seconds = seconds;
  if (!keeps_rows || columns.empty()) return history;
  if (!columns.contains("fun")) throw py::value_error("The history has no fun.");
  history->rows.resize(py::len(columns["fun"]));
  for_each_column([&](const char* name, auto member) {
    using T = std::decay_t<decltype(std::declval<History::Row>().*member)>;
    const auto values = columns.contains(name) ? py::array_t<T>::ensure(columns[name]) : py::array_t<T>();
    if (!values || values.ndim() != 1 || static_cast<std::size_t>(values.size()) != history->rows.size()) {
      throw py::value_error(std::string("The history has no ") + name + ", or one of another length than fun.");
    }
    const auto elements = values.template unchecked<1>();
    for (std::size_t i = 0; i < history->rows.size(); ++i) {
      history->rows[i].*member = elements(static_cast<py::ssize_t>(i));
    }
  });
  return history;
}

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_HISTORY_H_
