#include "objectives/constraint_rows.h"

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace tfminimize {
namespace {

void check_rows(std::vector<ConstraintRow> rows, std::size_t num_values) {
  constexpr std::size_t kMaxRows = std::size_t{1} << 32;  // so that no size overflows
  for (const ConstraintRow& row : rows) {
    if (row.row >= kMaxRows) {
      throw std::invalid_argument("A row has the number " + std::to_string(row.row) + "; it must be less than 2^32.");
    }
    if (row.source >= num_values) {
      throw std::invalid_argument("Row " + std::to_string(row.row) + " is made of value " + std::to_string(row.source) +
                                  ", and there are only " + std::to_string(num_values) + ".");
    }
    if (std::abs(row.sign) != 1 || !std::isfinite(row.offset)) {
      throw std::invalid_argument("Row " + std::to_string(row.row) + " has the sign " + std::to_string(row.sign) +
                                  " and the offset " + std::to_string(row.offset) +
                                  "; they must be 1 or -1, and finite.");
    }
  }
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.row < b.row; });
  const auto twice =
      std::adjacent_find(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.row == b.row; });
  if (twice != rows.end()) throw std::invalid_argument("Row " + std::to_string(twice->row) + " is given twice.");
}

}  // namespace

ConstraintRows::ConstraintRows(std::vector<ConstraintRow> rows, std::size_t num_values) : num_values_(num_values) {
  set(std::move(rows));
}

void ConstraintRows::set(std::vector<ConstraintRow> rows) {
  check_rows(rows, num_values_);
  rows_ = std::move(rows);
  required_rows_ = 0;
  for (const ConstraintRow& row : rows_) required_rows_ = std::max(required_rows_, row.row + 1);
}

void ConstraintRows::fail_constraints(std::size_t size) const {
  throw std::invalid_argument("c has " + std::to_string(size) + " elements, and the rows end at " +
                              std::to_string(required_rows_) + ".");
}

void ConstraintRows::check_rows_of_jacobian(const Buffers& to, const Components& components) const {
  components.check_size(to.stride);
  if (required_rows_ > 0 && to.jacobian.size() / to.stride < required_rows_) {
    throw std::invalid_argument("The Jacobian has " + std::to_string(to.jacobian.size()) +
                                " elements, and the rows end at " + std::to_string(required_rows_ * to.stride) + ".");
  }
}

void ConstraintRows::check_complete(std::size_t m, Span<const double> offsets) const {
  std::vector<bool> written(m, false);
  for (const ConstraintRow& row : rows_) {
    if (row.row >= m) {
      throw std::invalid_argument("The objective writes row " + std::to_string(row.row) + ", and the solver has " +
                                  std::to_string(m) + " constraints.");
    }
    written[row.row] = true;
  }
  for (std::size_t i = 0; i < m; ++i) {
    const bool is_linear = !offsets.empty() && !std::isnan(offsets[i]);
    if (written[i] == is_linear) {
      throw std::invalid_argument("Constraint " + std::to_string(i) +
                                  (is_linear ? " is linear for the solver, and the objective writes it."
                                             : " is in no row of the objective, and the solver has no offset for it."));
    }
  }
}

}  // namespace tfminimize
