#ifndef TFMINIMIZE_OBJECTIVES_CONSTRAINED_XLA_EXECUTABLE_H_
#define TFMINIMIZE_OBJECTIVES_CONSTRAINED_XLA_EXECUTABLE_H_

#include <cstddef>
#include <utility>
#include <vector>

#include "objectives/components.h"
#include "objectives/constrained_objective.h"
#include "objectives/constraint_assembly.h"
#include "objectives/outputs.h"
#include "xla/xla_function.h"

namespace tfminimize {

/// The machine code that XLA has made of two functions of the same components, see loss_and_values() and
/// values_and_derivatives(). It reads x and writes the gradients of doubles in place.
///
/// One object evaluates in one thread at a time, which its user sees to; several objects may run at once.
class ConstrainedXlaExecutable final : public ConstrainedObjective {
 public:
  /// Throws std::invalid_argument for components, inputs, outputs and rows that do not fit.
  ConstrainedXlaExecutable(XlaOptions values, XlaOptions derivatives, std::vector<Component> components,
                           const ConstrainedOutputs& outputs, std::vector<ConstraintRow> rows);

  // These throw std::runtime_error with the error of XLA.
  double evaluate_values(Span<const double> x, Span<double> c) override;
  void evaluate_derivatives(Span<const double> x, const Derivatives& derivatives) override;
  double evaluate(Span<const double> x, Span<double> c, const Derivatives& derivatives) override;

  bool is_joint() const override { return true; }
  void begin_batch(const std::vector<BatchedInput>& inputs) override;
  void select(std::size_t problem) override;
  void end_batch() override;

  const ConstraintAssembly& rows() const { return rows_; }

  /// Replaces all rows. Throws std::invalid_argument for rows that do not fit, and then changes nothing.
  void set_rows(std::vector<ConstraintRow> rows) { rows_.set_rows(std::move(rows)); }

  /// Replaces a tensor that is passed as it is, to both functions at the same position, by another of the same dtype
  /// and size.
  void set_input(std::size_t position, const HostTensor& tensor);

  /// The same for one of the functions, values (0) or derivatives (1).
  void set_captured(std::size_t function, std::size_t position, HostTensor tensor) {
    (function == 0 ? values_ : derivatives_).set_input(position, std::move(tensor));
  }

 private:
  void run_derivatives(Span<const double> x, const Derivatives& derivatives);

  Components components_;
  XlaFunction values_;
  XlaFunction derivatives_;
  ConstraintAssembly rows_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_CONSTRAINED_XLA_EXECUTABLE_H_
