#ifndef TFMINIMIZE_OBJECTIVES_VECTORIZED_FUNCTIONS_H_
#define TFMINIMIZE_OBJECTIVES_VECTORIZED_FUNCTIONS_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "objectives/batched_input.h"
#include "objectives/compiled_function.h"
#include "objectives/components.h"
#include "objectives/constraint_rows.h"
#include "objectives/function_objective.h"
#include "objectives/vector_objective.h"
#include "solvers/aligned_array.h"

namespace tfminimize {

/// A vectorized objective: compiled functions of several problems, which FunctionObjective describes for one. All
/// inputs and results that belong to a problem have one more dimension, of the problems. It comes first, but in a
/// Jacobian after that of the values:
///
///     components [rows, ...], batched inputs [rows, ...]
///        -> loss [rows], v [rows, k], gradients [rows, ...], Jacobians [k, rows, ...]
///
/// Either one function takes any number of rows, or each takes its own. A call with fewer problems than rows repeats
/// the first of them.
class VectorizedFunctions final : public VectorObjective {
 public:
  /// `components` are those of one problem. `make` makes the function for each of `sizes`, in ascending order; or, if
  /// it `takes_any` number of rows, one function, which is called with `sizes` alone unless there are none. Throws
  /// std::invalid_argument for components, functions and sizes that do not fit.
  VectorizedFunctions(std::vector<Component> components, const FunctionOutputs& outputs,
                      const std::vector<MakeFunction>& make, std::vector<std::size_t> sizes, std::size_t capacity,
                      bool takes_any);

  std::size_t capacity() const override { return capacity_; }
  void evaluate_all(Span<ProblemPoint> points) override;
  void begin(const std::vector<BatchedInput>& inputs, bool is_alone) override;
  void end_batch() override;
  void cancel() override;

  const ConstraintRows& rows() const { return rows_; }

  // See FunctionObjective.
  void set_rows(std::vector<ConstraintRow> rows) { rows_.set(std::move(rows)); }
  void set_input(std::size_t position, const InputTensor& tensor, std::optional<std::size_t> function = {});
  std::size_t num_functions() const { return functions_.size(); }

 private:
  /// A function, and where it reads the components of all rows.
  struct Sized {
    Components components;
    std::unique_ptr<CompiledFunction> function;
    std::size_t version = 0;  ///< Of the batched inputs that it has been given.
  };

  /// A batched input, and its values for the rows of the next call.
  struct Gathered {
    BatchedInput input;
    solvers::AlignedArray<std::byte> values;
  };

  std::vector<Component> stacked(std::size_t rows) const;
  Sized& function_of(std::size_t rows);
  void gather(Span<const ProblemPoint> points, std::size_t rows);
  void pass_inputs(Sized& sized, std::size_t rows);

  std::vector<Component> one_;  ///< The components of one problem.
  Components components_;       ///< The same.
  std::vector<std::size_t> sizes_;
  std::size_t capacity_;
  bool takes_any_;
  ConstraintRows rows_;
  std::size_t first_gradient_;                        ///< Its index among the results.
  std::vector<std::size_t> offsets_;                  ///< Of the components of all rows in x_.
  std::shared_ptr<solvers::AlignedArray<double>> x_;  ///< Of all rows.
  std::vector<std::unique_ptr<Sized>> functions_;     ///< One for each of sizes_, or one.
  std::size_t present_ = 0;                           ///< The rows that the only function is set to.
  std::vector<Gathered> inputs_;
  std::vector<std::size_t> held_;  ///< The problem whose inputs each row has.
  std::size_t version_ = 0;        ///< Of the gathered inputs.
  bool ends_batches_ = false;      ///< Whether the functions have begun a batch.
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_VECTORIZED_FUNCTIONS_H_
