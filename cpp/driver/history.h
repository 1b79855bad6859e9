#ifndef TFMINIMIZE_DRIVER_HISTORY_H_
#define TFMINIMIZE_DRIVER_HISTORY_H_

#include <cstdint>
#include <vector>

namespace tfminimize {

/// The record of a solve. A solve that goes on from a saved state goes on with its record.
struct History {
  /// The start, or an iterate.
  struct Row {
    double fun = 0;
    double gradient_norm = 0;     ///< Solver::gradient_norm(); at the start without the constraints. NaN if not known.
    double step = 0;              ///< Solver::step_norm(); 0 at the start.
    std::int64_t nfev = 0;        ///< Up to here.
    double seconds = 0;           ///< Likewise, of wall clock.
    double constr_violation = 0;  ///< The greatest violation of a constraint.
  };

  bool keeps_rows = false;
  bool keeps_latest = false;  ///< If it keeps no rows: the last one, without those before.
  double seconds = 0;         ///< That the solve has taken so far; also what happened before it, if that counts.
  std::vector<Row> rows;      ///< If it keeps them: the start, and each completed iteration.

  bool records() const { return keeps_rows || keeps_latest; }
  void add(const Row& row) {
    if (!keeps_rows) rows.clear();
    rows.push_back(row);
  }
};

/// Calls visit(name, member) for each column of the rows.
template <typename Visit>
constexpr void for_each_column(const Visit& visit) {
  using Row = History::Row;
  visit("fun", &Row::fun);
  visit("gradient_norm", &Row::gradient_norm);
  visit("step", &Row::step);
  visit("nfev", &Row::nfev);
  visit("seconds", &Row::seconds);
  visit("constr_violation", &Row::constr_violation);
}

constexpr int count_history_columns() {
  int count = 0;
  for_each_column([&](const char* /*name*/, auto /*member*/) { ++count; });
  return count;
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_HISTORY_H_
