#ifndef TFMINIMIZE_OBJECTIVES_FUNCTION_OBJECTIVE_H_
#define TFMINIMIZE_OBJECTIVES_FUNCTION_OBJECTIVE_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "objectives/compiled_function.h"
#include "objectives/components.h"
#include "objectives/constraint_rows.h"
#include "objectives/objective.h"

namespace tfminimize {

/// What the functions of an objective return, apart from derivatives.
struct FunctionOutputs {
  TF_DataType loss_dtype = TF_DOUBLE;
  TF_DataType values_dtype = TF_DOUBLE;
  std::size_t num_values = 0;  ///< k
  std::size_t num_sums = 0;    ///< l
  std::vector<Output> arrays{};
};

/// The outputs of the function of derivatives, for `rows` problems that it evaluates together.
std::vector<Output> outputs_of_derivatives(const FunctionOutputs& outputs, const Components& components,
                                           std::size_t rows = 1);

/// An objective that calls compiled functions of the components of x:
///
///     values:       loss, v [k], sums [l], arrays
///     derivatives:  loss, v [k], gradient 0, gradient 1, ..., Jacobian of v by component 0, by component 1, ...,
///                   sums [l], arrays
///
/// The loss is a scalar, and the constraints follow from the values v. Gradients and Jacobians have the dtype of their
/// component; a Jacobian has k rows, each as long as the component. If k is 0, there are no v and no Jacobians. The
/// second function alone is enough: it then gives the values too. The sums are doubles that the solver does not need;
/// without any, l is 0. The arrays are for the caller of arrays().
class FunctionObjective final : public Objective {
 public:
  /// `make` makes the functions: values and derivatives, or only the latter. Throws std::invalid_argument for
  /// components, functions and rows that do not fit, and lets through what `make` throws.
  FunctionObjective(std::vector<Component> components, const FunctionOutputs& outputs,
                    const std::vector<MakeFunction>& make, std::vector<ConstraintRow> rows);

  double evaluate(Span<const double> x, const Buffers& to) override;
  double values(Span<const double> x, const Buffers& to) override;
  void derivatives(Span<const double> x, const Buffers& to) override;
  bool is_joint() const override { return true; }

  void cancel() override {
    for (const auto& function : functions_) function->cancel();
  }
  void begin_batch(const std::vector<BatchedInput>& inputs) override;
  void select(std::size_t problem) override {
    for (const auto& function : functions_) function->select(problem);
  }
  void end_batch() override {
    for (const auto& function : functions_) function->end_batch();
  }

  const ConstraintRows& rows() const { return rows_; }

  /// What the last evaluation has returned as sums; zeros before the first.
  Span<const double> sums() const override { return {sums_.data(), sums_.size()}; }

  /// The arrays of the last evaluation of values, until the next evaluation; none before the first.
  std::vector<HostArray> arrays() const { return latest_ == nullptr ? std::vector<HostArray>() : latest_->arrays(); }

  /// Replaces all rows. Throws std::invalid_argument for rows that do not fit, and then changes nothing.
  void set_rows(std::vector<ConstraintRow> rows) { rows_.set(std::move(rows)); }

  /// Replaces a tensor that is passed as it is by another of the same dtype and size, in the function with this index
  /// or in all functions. Throws std::invalid_argument, and then changes nothing.
  void set_input(std::size_t position, const InputTensor& tensor, std::optional<std::size_t> function = {});

  /// The functions in the order in which they were given.
  const std::vector<std::unique_ptr<CompiledFunction>>& functions() const { return functions_; }

  /// Casts the components of x that are not passed in place; call it before a function. Throws std::invalid_argument if
  /// x ends before the components.
  void stage(Span<const double> x) const {
    components_.check_size(x.size());
    components_.stage(x);
  }

 private:
  void prepare(Span<const double> x, const Buffers& to);
  void write_more_values(const CompiledFunction& function, const CompiledFunction::Call& call, Span<double> c);
  void write_sums(const CompiledFunction& function, const CompiledFunction::Call& call);
  void write_derivatives(const CompiledFunction::Call& call, const Buffers& to) const;

  Components components_;
  ConstraintRows rows_;
  std::size_t first_gradient_;  ///< Its index among the results.
  bool has_values_;             ///< Whether there are v.
  bool has_more_;               ///< Whether there are v or sums.
  std::vector<double> sums_;
  std::vector<std::unique_ptr<CompiledFunction>> functions_;
  std::size_t num_arrays_;
  CompiledFunction* derivatives_ = nullptr;
  CompiledFunction* latest_ = nullptr;  ///< The function that has given the last values.
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_FUNCTION_OBJECTIVE_H_
