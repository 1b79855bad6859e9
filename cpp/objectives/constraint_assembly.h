#ifndef TFMINIMIZE_OBJECTIVES_CONSTRAINT_ASSEMBLY_H_
#define TFMINIMIZE_OBJECTIVES_CONSTRAINT_ASSEMBLY_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "objectives/components.h"
#include "objectives/constrained_objective.h"
#include "solvers/span.h"

namespace tfminimize {

/// How one constraint of the solver is made of the values v that TensorFlow computes:
///
///     c[row] = sign * v[source] + offset
struct ConstraintRow {
  std::size_t row = 0;
  std::size_t source = 0;
  double sign = 1;  ///< 1 or -1.
  double offset = 0;
};

/// Makes the constraints: all rows, and the way of the results of a function (see values_and_derivatives()) into the
/// solver's memory. What is in no row is never written.
///
/// `Results` reads and copies the results of a call by their index, as FunctionCall::Results does.
class ConstraintAssembly {
 public:
  /// Of `num_values` values v. Throws std::invalid_argument for rows that do not fit.
  ConstraintAssembly(std::vector<ConstraintRow> rows, std::size_t num_values);

  /// Replaces all rows. Throws std::invalid_argument for rows that do not fit, and then changes nothing.
  void set_rows(std::vector<ConstraintRow> rows);

  /// Throws std::invalid_argument unless these are those of m constraints that the solver does not compute itself: all
  /// whose offset is NaN, or simply all if there are no offsets.
  void check_complete(std::size_t m, Span<const double> offsets) const;

  // Throw std::invalid_argument if the memory ends before the rows do, or before the components.
  void check_constraints(std::size_t size) const;
  void check_derivatives(const Derivatives& derivatives, const Components& components) const;

  template <typename Results>
  void write_constraints(const Results& results, Span<double> c) const {
    if (num_values_ == 0) return;
    results.read(1, [&](const auto* source) {
      for (const ConstraintRow& row : rows_) {
        c[row.row] = row.sign * static_cast<double>(source[row.source]) + row.offset;
      }
    });
  }

  template <typename Results>
  void write_derivatives(const Results& results, const Components& components, const Derivatives& derivatives) const {
    const std::size_t count = components.count();
    for (std::size_t i = 0; i < count; ++i) {
      results.copy(first_gradient() + i, derivatives.gradient.data() + components.offset(i));
    }
    if (num_values_ == 0) return;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t size = components.size(i);
      double* const target = derivatives.jacobian.data() + components.offset(i);
      results.read(first_gradient() + count + i, [&](const auto* source) {
        for (const ConstraintRow& row : rows_) {
          const auto* from = source + row.source * size;
          std::transform(from, from + size, target + row.row * derivatives.stride,
                         [sign = row.sign](auto value) { return sign * static_cast<double>(value); });
        }
      });
    }
  }

  /// Which result is the gradient of component 0.
  std::size_t first_gradient() const { return num_values_ == 0 ? 1 : 2; }

 private:
  std::size_t num_values_;
  std::vector<ConstraintRow> rows_;
  std::size_t required_rows_ = 0;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_CONSTRAINT_ASSEMBLY_H_
