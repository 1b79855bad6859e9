#ifndef TFMINIMIZE_OBJECTIVES_DATA_SUM_H_
#define TFMINIMIZE_OBJECTIVES_DATA_SUM_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "objectives/compiled_function.h"
#include "objectives/components.h"
#include "objectives/objective.h"
#include "solvers/aligned_array.h"
#include "solvers/span.h"

namespace tfminimize {

/// How data are cut into batches, and what is added up over them.
struct Batches {
  std::size_t rows = 0;      ///< N, of the data.
  std::size_t size = 0;      ///< Rows of a batch. The last one has the remainder of N, if there is any.
  bool is_mean = false;      ///< Whether a batch has the weight of its rows in the sum, which is then divided by N.
  std::size_t num_sums = 0;  ///< l

  std::size_t num_whole() const { return rows / size; }
  std::size_t remainder() const { return rows % size; }
  std::size_t count() const { return num_whole() + (remainder() > 0 ? 1 : 0); }
};

/// A tensor with a row for each row of the data.
struct DataTensor {
  std::size_t position = 0;  ///< Among the inputs of the functions.
  InputTensor tensor;
};

/// What a DataSum calls, for values alone or for derivatives too. All take the same inputs, except that those of the
/// data have as many rows as there are in the batch. `penalty` ignores the data.
struct BatchFunctions {
  MakeFunction batch;
  MakeFunction last;     ///< Of the smaller last batch; empty if all batches are whole.
  MakeFunction penalty;  ///< Added once; may be empty.
};

/// A function and as many copies as threads call it, all with the same inputs.
class FunctionCopies {
 public:
  /// Makes one. `components` must outlive the object. `data` are the inputs that select() chooses; `make` needs only
  /// their sizes.
  FunctionCopies(MakeFunction make, std::vector<Output> outputs, Components& components,
                 std::vector<BatchedInput> data);

  /// Makes copies until there are so many.
  void grow(std::size_t count);
  CompiledFunction& operator[](std::size_t i) const { return *copies_[i]; }

  // See CompiledFunction.
  void check_input(std::size_t position, const InputTensor& tensor) const { copies_[0]->check_input(position, tensor); }
  void set_input(std::size_t position, const InputTensor& tensor);
  void set_data(std::vector<BatchedInput> data);

 private:
  MakeFunction make_;
  std::vector<Output> outputs_;
  Components& components_;
  std::vector<BatchedInput> data_;
  std::map<std::size_t, InputTensor> replaced_;  ///< Inputs, by position.
  std::vector<std::unique_ptr<CompiledFunction>> copies_;
};

/// A loss over data, added up batch by batch in several threads:
///
///     f(x) = Σ f_b(x) + penalty(x),  or  Σ n_b f_b(x) / N + penalty(x) with n_b the rows of batch b
///
/// Each thread calls a copy of the function of a batch, which runs in that thread alone. Batches are added in their
/// order, in float64, so the bits do not depend on the number of threads. Results of a batch whose turn has not come
/// wait in memory, 8 MB at most, while their thread goes on; if that is full, the thread waits. Besides the solver's
/// gradient there are the sum, one for each thread and those that wait, whatever the number of batches. An evaluation
/// that throws leaves the solver's as it was.
///
///     values:       loss, sums [l]
///     derivatives:  loss, gradient 0, gradient 1, ..., sums [l]
///
/// The penalty returns no sums; they are doubles, and have the weight 1. The functions must read their inputs where the
/// data are: slice b of the data is passed by its address, or copied if that is not aligned.
class DataSum final : public Objective {
 public:
  /// `functions` are values and derivatives, or only the latter. Throws std::invalid_argument for what does not fit.
  DataSum(std::vector<Component> components, const Batches& batches, std::vector<DataTensor> data,
          std::vector<BatchFunctions> functions);

  double evaluate(Span<const double> x, const Buffers& to) override { return add_up(passes_.back(), x, to.gradient); }
  double values(Span<const double> x, const Buffers& /*to*/) override { return add_up(passes_.front(), x, {}); }
  void derivatives(Span<const double> x, const Buffers& to) override { evaluate(x, to); }
  bool is_joint() const override { return true; }

  // Both end an evaluation between two batches.
  void cancel() override { is_cancelled_.store(true, std::memory_order_relaxed); }
  void set_deadline(std::chrono::steady_clock::time_point deadline) override { deadline_ = deadline; }

  /// What the last evaluation has added up as sums; zeros before the first.
  Span<const double> sums() const override { return {sums_.data(), sums_.size()}; }

  /// In how many threads an evaluation runs now.
  std::size_t num_threads() const;

  /// Replaces a tensor by another of the same dtype and size: data, or else an input of all functions. Throws
  /// std::invalid_argument, and then changes nothing.
  void set_input(std::size_t position, const InputTensor& tensor);
  /// The same for an input, other than data, of one function. They are numbered: first all of `batch`, in the order of
  /// the constructor, then all of `last` and of `penalty`, if there are any.
  void set_input(std::size_t position, const InputTensor& tensor, std::size_t function);
  std::size_t num_functions() const { return numbered_.size(); }

 private:
  /// The functions that one evaluation calls.
  struct Pass {
    FunctionCopies batch;
    std::optional<FunctionCopies> last;
    std::optional<FunctionCopies> penalty;
    bool has_gradient;
  };
  /// Memory for the results of a batch until its turn.
  struct Waiting {
    bool is_taken = false;
    std::size_t batch = 0;
    std::size_t rows = 0;
    double loss = 0;
    solvers::AlignedArray<double> gradient;
    std::vector<double> sums;
  };
  class Evaluation;

  double add_up(Pass& pass, Span<const double> x, Span<double> gradient);
  std::vector<BatchedInput> slices(bool of_last) const;

  Components components_;
  Batches batches_;
  std::vector<DataTensor> data_;
  std::vector<Pass> passes_;
  std::vector<FunctionCopies*> numbered_;
  solvers::AlignedArray<double> total_;  ///< Where the gradient is added up; empty until the first evaluation.
  std::vector<Waiting> waiting_;         ///< For an evaluation.
  std::vector<double> sums_;
  std::atomic<bool> is_cancelled_{false};
  std::chrono::steady_clock::time_point deadline_ = kNever;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_DATA_SUM_H_
