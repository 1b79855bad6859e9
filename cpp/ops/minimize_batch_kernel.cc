#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <list>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "driver/batch.h"
#include "ops/attributes.h"
#include "ops/evaluator.h"
#include "ops/function_library.h"
#include "ops/kernel_values.h"
#include "ops/solve_kernel.h"
#include "ops/solver_memory.h"
#include "solvers/problem.h"
#include "solvers/solver.h"
#include "solvers/threads.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/tstring.h"

namespace tfminimize {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

/// A matrix with a row for each problem, or with one row for all.
struct Rows {
  const char* name;
  Span<const double> values;
  std::size_t count = 0;
  std::size_t size = 0;  ///< Of a row.

  bool empty() const { return size == 0; }
  Span<const double> row(std::size_t problem) const {
    return {values.data() + (count == 1 ? 0 : problem) * size, size};
  }
};

Rows rows_input(OpKernelContext& context, const char* name) {
  const Tensor& tensor = input(context, name);
  if (tensor.dims() != 2) fail(name, " must be a matrix, but has shape ", tensor.shape().DebugString(), ".");
  const auto* data = tensor.flat<double>().data();
  return {name, {data, to_size(tensor.NumElements())}, to_size(tensor.dim_size(0)), to_size(tensor.dim_size(1))};
}

/// The solver of one thread, with what it needs.
class Thread {
 public:
  /// For n variables. The bounds are those of the first problem; empty for none.
  Thread(const Backend& backend, const Run& run, const Attributes& attributes, std::size_t n, const Captures& captures,
         Span<const double> lower, Span<const double> upper)
      : lower_(lower.begin(), lower.end()),
        upper_(upper.begin(), upper.end()),
        memory_(attributes, n, lower_, upper_),
        solver_(make_solver(attributes, run.context, memory_.problem())),
        evaluator_(backend, run, attributes, n, captures) {}

  Worker worker() { return {*solver_, memory_.problem(), evaluator_.objective(), lower_, upper_}; }

 private:
  std::vector<double> lower_;
  std::vector<double> upper_;
  SolverMemory memory_;
  std::unique_ptr<solvers::Solver> solver_;
  Evaluator evaluator_;
};

/// Throws the error of the first problem that has one, which does not depend on the threads.
void check_errors(const std::vector<std::exception_ptr>& errors) {
  const auto found = std::find_if(errors.begin(), errors.end(), [](const auto& error) { return error != nullptr; });
  if (found == errors.end()) return;
  const std::string place = absl::StrCat("problem ", found - errors.begin(), " of the batch: ");
  try {
    std::rethrow_exception(*found);
  } catch (const StatusError& error) {
    absl::Status named(error.status().code(), absl::StrCat(place, error.status().message()));
    error.status().ForEachPayload([&](auto url, const absl::Cord& payload) { named.SetPayload(url, payload); });
    throw StatusError(std::move(named));
  } catch (const std::exception& error) {
    fail(place, error.what());
  }
}

/// The solves of a batch.
class BatchSolve {
 public:
  BatchSolve(const Run& run, const BatchAttributes& attributes)
      : run_(run),
        context_(run.context),
        attributes_(attributes),
        starts_(rows_input(context_, "x0")),
        lower_(rows_input(context_, "lower")),
        upper_(rows_input(context_, "upper")),
        n_(starts_.size),
        captures_{list_input(context_, "captures")} {
    attributes_.check_size(static_cast<std::int64_t>(n_));
    set_count();
    check_start();
    check_all_bounds();
    set_batched();
  }

  void run() {
    allocate();
    if (count_ == 0) {
      set_scalar<tensorflow::tstring>(context_, "backend", "none");
      set_scalar<tensorflow::tstring>(context_, "backend_reason", "there are no problems");
      return;
    }
    const Backend backend(run_, attributes_, n_, captures_);
    std::list<Thread> threads;
    std::vector<Worker> workers;
    for (std::size_t i = num_threads(); i > 0; --i) {
      threads.emplace_back(backend, run_, attributes_, n_, captures_, lower_.row(0), upper_.row(0));
      workers.push_back(threads.back().worker());
    }
    const InterruptPoll poll = poll_of(context_);
    poll();
    const BatchOutcome outcome = solve_batch(workers, captures_.batched, rows_, [&](std::size_t /*done*/) { poll(); });
    check_errors(outcome.errors);
    std::transform(statuses_.begin(), statuses_.end(), status_.begin(),
                   [](std::int64_t status) { return static_cast<std::int32_t>(status); });
    set_backend(context_, backend);
    const std::int64_t nfev = std::accumulate(rows_.nfev.begin(), rows_.nfev.end(), std::int64_t{0});
    look_for_compilations(run_, attributes_, backend, outcome.timing.evaluate, nfev - 1, workers.front().problem,
                          workers.front().objective);
  }

 private:
  /// The number of problems, on which all inputs agree that have a row for each.
  void set_count() {
    count_ = starts_.count;
    for (const Rows* bounds : {&lower_, &upper_}) {
      if (count_ == 1 && !bounds->empty()) count_ = bounds->count;
    }
    for (const std::size_t i : attributes_.batched) {
      const TensorShape& shape = captures_.tensors[i].shape();
      if (shape.dims() == 0) fail("captures[", i, "] is a scalar: since it is batched, it must have a dimension.");
      const auto slices = to_size(shape.dim_size(0));
      if (i == attributes_.batched.front()) count_ = slices;
      if (slices != count_) {
        fail("captures[", i, "] has ", slices, " slices, and captures[", attributes_.batched.front(), "] has ", count_,
             ": all that are batched must have as many, one for each problem.");
      }
    }
    check_count(starts_);
    for (const Rows* bounds : {&lower_, &upper_}) {
      if (bounds->empty()) continue;
      check_count(*bounds);
      if (bounds->size != n_) {
        fail(bounds->name, " has rows of ", bounds->size, " elements, but those of x0 have ", n_, ".");
      }
    }
    if (lower_.empty() != upper_.empty() || (!lower_.empty() && lower_.count != upper_.count)) {
      fail("lower has shape [", lower_.count, ",", lower_.size, "] and upper [", upper_.count, ",", upper_.size,
           "]: both must have the same.");
    }
  }

  void check_count(const Rows& rows) const {
    if (rows.count == count_ || rows.count == 1) return;
    fail(rows.name, " has ", rows.count, " rows, and there are ", count_,
         " problems: it must have one row for each, or one for all.");
  }

  void check_start() const {
    for (std::size_t i = 0; i < starts_.values.size(); ++i) {
      const double value = starts_.values[i];
      if (!std::isfinite(value)) {
        fail("x0[", i / n_, ", ", i % n_, "] is ", value, " at the start: give a finite value.");
      }
    }
  }

  void check_all_bounds() const {
    check_bounds(lower_.values, upper_.values, [&](std::size_t i) {
      const std::string element = absl::StrCat("element ", i % n_, " of x");
      return lower_.count == 1 ? element : absl::StrCat(element, " in problem ", i / n_);
    });
  }

  /// Lets the functions take a slice of each batched capture.
  void set_batched() {
    for (const std::size_t i : attributes_.batched) {
      const Tensor whole = captures_.tensors[i];
      TensorShape one = whole.shape();
      one.RemoveDim(0);
      captures_.tensors[i] = Tensor(whole.dtype(), one);
      BatchedInput input;
      input.position = i + 1;
      input.dtype = static_cast<TF_DataType>(whole.dtype());
      const auto sizes = one.dim_sizes();
      input.shape.assign(sizes.begin(), sizes.end());
      input.bytes = captures_.tensors[i].TotalBytes();
      input.count = count_;
      input.data = static_cast<const std::byte*>(whole.data());
      input.owner = std::make_shared<Tensor>(whole);
      captures_.batched.push_back(std::move(input));
    }
  }

  /// Makes the outputs, and writes the starts to x.
  void allocate() {
    rows_.x = output<double>(context_, "x", shape({n_}));
    rows_.gradient = output<double>(context_, "jac", shape({n_}));
    rows_.fun = output<double>(context_, "fun", shape());
    rows_.constr_violation = output<double>(context_, "constr_violation", shape());
    rows_.multipliers = output<double>(context_, "multipliers", shape({to_size(attributes_.num_constraints)}));
    rows_.nit = output<std::int64_t>(context_, "nit", shape());
    rows_.nfev = output<std::int64_t>(context_, "nfev", shape());
    rows_.njev = output<std::int64_t>(context_, "njev", shape());
    status_ = output<std::int32_t>(context_, "status", shape());
    statuses_.resize(count_);
    messages_.resize(count_);
    rows_.status = statuses_;
    rows_.message = messages_;
    for (std::size_t i = 0; i < count_; ++i) {
      const Span<const double> start = starts_.row(i);
      std::copy(start.begin(), start.end(), rows_.x.data() + i * n_);
    }
    if (!lower_.empty() && lower_.count > 1) {
      rows_.lower = lower_.values;
      rows_.upper = upper_.values;
    }
  }

  /// [number of problems, size of a row].
  TensorShape shape(std::initializer_list<std::size_t> row = {}) const {
    TensorShape found;
    check(found.AddDimWithStatus(static_cast<std::int64_t>(count_)));
    for (const std::size_t size : row) check(found.AddDimWithStatus(static_cast<std::int64_t>(size)));
    return found;
  }

  /// A batch inside of a batch has one, since the threads of the other are at work.
  std::size_t num_threads() const {
    if (solvers::is_serial()) return 1;
    const std::size_t wanted = attributes_.num_threads == 0 ? solvers::num_threads() : attributes_.num_threads;
    return std::min(wanted, count_);
  }

  Run run_;
  OpKernelContext& context_;
  const BatchAttributes& attributes_;
  Rows starts_;
  Rows lower_;
  Rows upper_;
  std::size_t n_;
  Captures captures_;
  std::size_t count_ = 0;
  BatchRows rows_;
  Span<std::int32_t> status_;
  std::vector<std::int64_t> statuses_;
  std::vector<const char*> messages_;
};

using MinimizeBatchKernel = SolveKernel<BatchAttributes, BatchSolve>;

REGISTER_KERNEL_BUILDER(Name("TfminimizeMinimizeBatch").Device(tensorflow::DEVICE_CPU), MinimizeBatchKernel);

}  // namespace
}  // namespace tfminimize
