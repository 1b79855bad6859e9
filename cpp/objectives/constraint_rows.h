#ifndef TFMINIMIZE_OBJECTIVES_CONSTRAINT_ROWS_H_
#define TFMINIMIZE_OBJECTIVES_CONSTRAINT_ROWS_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "objectives/compiled_function.h"
#include "objectives/components.h"
#include "objectives/objective.h"
#include "solvers/span.h"

namespace tfminimize {

/// How one constraint of the solver follows from the values v that TensorFlow computes:
///
///     c[row] = sign * v[source] + offset
struct ConstraintRow {
  std::size_t row = 0;
  std::size_t source = 0;
  double sign = 1;  ///< 1 or -1.
  double offset = 0;
};

/// All rows. They write the values of a function and their Jacobians into the solver's memory, and leave constraints
/// without a row alone.
class ConstraintRows {
 public:
  /// Throws std::invalid_argument for rows that do not fit `num_values` values v.
  ConstraintRows(std::vector<ConstraintRow> rows, std::size_t num_values);

  /// Replaces all rows. Throws std::invalid_argument for rows that do not fit, and then changes nothing.
  void set(std::vector<ConstraintRow> rows);

  /// Throws std::invalid_argument unless these rows are exactly those of the m constraints that the solver does not
  /// compute itself: those whose offset is NaN, or all if there are no offsets.
  void check_complete(std::size_t m, Span<const double> offsets) const;

  // These throw std::invalid_argument if the memory is too small for the rows or the components.
  void check_constraints(std::size_t size) const {
    if (size < required_rows_) fail_constraints(size);
  }
  void check_jacobian(const Buffers& to, const Components& components) const {
    if (required_rows_ > 0) check_rows_of_jacobian(to, components);
  }

  /// Writes the constraints. Result `index` of the call holds the values; of several problems if there are several, row
  /// by row.
  void write_constraints(const CompiledFunction::Call& call, std::size_t index, Span<double> c,
                         std::size_t problem = 0) const {
    call.read(index, [&](const auto* first) {
      const auto* const source = first + problem * num_values_;
      for (const ConstraintRow& row : rows_) {
        c[row.row] = row.sign * static_cast<double>(source[row.source]) + row.offset;
      }
    });
  }

  /// Writes the Jacobian of the constraints. Result `index` of the call is the Jacobian of the values by component 0;
  /// the other components follow. Each row of these has the rows of all problems, one after the other.
  void write_jacobian(const CompiledFunction::Call& call, std::size_t index, const Components& components,
                      const Buffers& to, std::size_t problem = 0, std::size_t num_problems = 1) const {
    for (std::size_t i = 0; i < components.count(); ++i) {
      const std::size_t size = components.size(i);
      double* const target = to.jacobian.data() + components.offset(i);
      call.read(index + i, [&](const auto* source) {
        for (const ConstraintRow& row : rows_) {
          const auto* from = source + (row.source * num_problems + problem) * size;
          std::transform(from, from + size, target + row.row * to.stride,
                         [sign = row.sign](auto value) { return sign * static_cast<double>(value); });
        }
      });
    }
  }

 private:
  [[noreturn]] void fail_constraints(std::size_t size) const;
  void check_rows_of_jacobian(const Buffers& to, const Components& components) const;

  std::size_t num_values_;
  std::vector<ConstraintRow> rows_;
  std::size_t required_rows_ = 0;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_CONSTRAINT_ROWS_H_
