#ifndef TFMINIMIZE_DRIVER_BATCH_H_
#define TFMINIMIZE_DRIVER_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <vector>

#include "driver/stopwatch.h"
#include "objectives/batched_input.h"
#include "objectives/objective.h"
#include "solvers/problem.h"
#include "solvers/solver.h"
#include "solvers/span.h"

namespace tfminimize {

/// What one thread of a batch solves with; it solves one problem after the other.
struct Worker {
  solvers::Solver& solver;
  const solvers::Problem& problem;  ///< The solver's.
  Objective& objective;
};

/// What becomes of B problems of n variables and m constraints: row or element i is what problem i has come to.
///
/// A problem that ended with an exception keeps its start in x, its floating-point results are NaN, and its status is
/// kFailed.
struct BatchRows {
  static constexpr std::int64_t kFailed = -1;

  Span<double> x;                 ///< [B * n], the starts to begin with.
  Span<double> gradient;          ///< [B * n]
  Span<double> fun;               ///< [B]
  Span<double> constr_violation;  ///< [B]
  Span<double> multipliers;       ///< [B * m]
  Span<std::int64_t> nit;         ///< [B]
  Span<std::int64_t> nfev;        ///< [B]
  Span<std::int64_t> njev;        ///< [B]
  Span<std::int64_t> status;      ///< [B], SciPy's codes.
  Span<const char*> message;      ///< [B], null for a problem that ended with an exception.
};

/// Called every 50 ms or so, in the thread that has called, with the number of problems that are done; throws to end
/// the batch. May be empty.
using BatchCallback = std::function<void(std::size_t done)>;

/// The outcome of a batch, besides its rows.
struct BatchOutcome {
  Timing timing;                           ///< The sum of all solves.
  std::vector<std::exception_ptr> errors;  ///< [B], what the objective threw, or null.
};

/// Solves B independent problems, in as many threads as there are workers: each takes the next problem until none is
/// left. A problem that throws does not stop the others, and no row depends on the number of workers.
///
/// `inputs` are those of the objectives that differ from problem to problem. What the callback throws comes through,
/// after all threads have ended; the rows are then of no use.
BatchOutcome solve_batch(const std::vector<Worker>& workers, const std::vector<BatchedInput>& inputs,
                         const BatchRows& rows, const BatchCallback& callback);

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_BATCH_H_
