#ifndef TFMINIMIZE_OPS_SOLVER_MEMORY_H_
#define TFMINIMIZE_OPS_SOLVER_MEMORY_H_

#include <cstddef>
#include <memory>

#include "ops/attributes.h"
#include "solvers/aligned_array.h"
#include "solvers/problem.h"
#include "solvers/solver.h"
#include "solvers/span.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tfminimize {

/// The memory that a solver works on.
class SolverMemory {
 public:
  /// For n variables; all values are 0. The bounds belong to the caller.
  SolverMemory(const Attributes& attributes, std::size_t n, Span<const double> lower, Span<const double> upper);
  SolverMemory(const SolverMemory&) = delete;
  SolverMemory& operator=(const SolverMemory&) = delete;

  const solvers::Problem& problem() const { return problem_; }

 private:
  using Doubles = solvers::AlignedArray<double>;

  Doubles x_;
  Doubles gradient_;
  Doubles constraints_;
  Doubles jacobian_;
  solvers::Problem problem_;
};

/// The solver of an op, with the options that are attributes and inputs. `problem` and the inputs must outlive it.
/// Throws StatusError for an option that no solver takes.
std::unique_ptr<solvers::Solver> make_solver(const Attributes& attributes, tensorflow::OpKernelContext& context,
                                             const solvers::Problem& problem);

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_SOLVER_MEMORY_H_
