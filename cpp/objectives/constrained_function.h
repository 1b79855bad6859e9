#ifndef TFMINIMIZE_OBJECTIVES_CONSTRAINED_FUNCTION_H_
#define TFMINIMIZE_OBJECTIVES_CONSTRAINED_FUNCTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "objectives/components.h"
#include "objectives/constrained_objective.h"
#include "objectives/constraint_assembly.h"
#include "objectives/outputs.h"
#include "tfe/function_call.h"
#include "tfe/tfe_api.h"

namespace tfminimize {

/// Two concrete functions of TensorFlow, of the same components:
///
///     values:       loss, v [k]
///     derivatives:  loss, v [k], gradient 0, gradient 1, ..., Jacobian of v by component 0, by component 1, ...
///
/// The gradients and Jacobians have the dtype of their component; a Jacobian has k rows of as many elements as the
/// component has. If k is 0, there are no v and no Jacobians. What is in no row is never written.
///
/// One object evaluates in one thread at a time, which its user sees to; several objects may run at once.
class ConstrainedFunction final : public ConstrainedObjective {
 public:
  /// Which of the two.
  enum class Part { kValues, kDerivatives };

  /// `api` must outlive the object. Throws std::invalid_argument for components, inputs and rows that do not fit, and
  /// TensorFlowError for a function that TensorFlow does not know.
  ConstrainedFunction(const TfeApi& api, TFE_Context* context, FunctionOptions values, FunctionOptions derivatives,
                      std::vector<Component> components, const ConstrainedOutputs& outputs,
                      std::vector<ConstraintRow> rows);

  // These throw TensorFlowError with the error of the function.
  double evaluate_values(Span<const double> x, Span<double> c) override;
  void evaluate_derivatives(Span<const double> x, const Derivatives& derivatives) override;
  double evaluate(Span<const double> x, Span<double> c, const Derivatives& derivatives) override;

  bool is_joint() const override { return true; }
  void cancel() override;
  void begin_batch(const std::vector<BatchedInput>& inputs) override;
  void select(std::size_t problem) override;
  void end_batch() override;

  const ConstraintAssembly& rows() const { return rows_; }

  /// Replaces all rows. Throws std::invalid_argument for rows that do not fit, and then changes nothing.
  void set_rows(std::vector<ConstraintRow> rows) { rows_.set_rows(std::move(rows)); }

  /// The function that was called last, which is the one that has thrown, if one has.
  Part last() const { return last_; }

  /// Replaces a tensor that is passed as it is, to both functions at the same position, by another of the same dtype.
  void set_input(std::size_t position, const TensorHandle& tensor);

  /// What keeps the memory of x alive as long as TensorFlow holds a tensor made of it.
  void set_owner(const std::shared_ptr<const void>& owner) {
    values_.set_owner(owner);
    derivatives_.set_owner(owner);
  }

  /// How a function is called: the faster way, as far as it is known.
  Dispatch dispatch(Part part) const { return (part == Part::kValues ? values_ : derivatives_).dispatch(); }

  /// Seconds of one call of a function, the mean of `count` in a bare loop: what an evaluation is measured by.
  double repeat(Part part, Span<const double> x, std::int64_t count);

  /// The address that TensorFlow reads for the input of a function at `position`, which must be a component.
  const void* input_address(Part part, Span<const double> x, std::size_t position);

 private:
  FunctionCall& function(Part part) { return part == Part::kValues ? values_ : derivatives_; }
  void begin(Part part, Span<const double> x);

  const TfeApi& api_;
  Components components_;
  FunctionCall values_;
  FunctionCall derivatives_;
  ConstraintAssembly rows_;
  Part last_ = Part::kValues;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_CONSTRAINED_FUNCTION_H_
