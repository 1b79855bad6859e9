#ifndef TFMINIMIZE_BINDINGS_HISTORY_H_
#define TFMINIMIZE_BINDINGS_HISTORY_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>

#include "driver/history.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// One member of all rows, as an array.
template <typename T>
py::array_t<T> column(const History& history, T History::Row::*member) {
  py::array_t<T> values(static_cast<py::ssize_t>(history.rows.size()));
  T* value = values.mutable_data();
  for (const History::Row& row : history.rows) *value++ = row.*member;
  return values;
}

/// The record as a dict of arrays.
inline py::dict columns(const History& history) {
  using Row = History::Row;
  py::dict dict;
  dict["fun"] = column(history, &Row::fun);
  dict["gradient_norm"] = column(history, &Row::gradient_norm);
  dict["step"] = column(history, &Row::step);
  dict["nfev"] = column(history, &Row::nfev);
  dict["seconds"] = column(history, &Row::seconds);
  dict["constr_violation"] = column(history, &Row::constr_violation);
  return dict;
}

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_HISTORY_H_
