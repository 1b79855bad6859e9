#ifndef TFMINIMIZE_DRIVER_BATCH_H_
#define TFMINIMIZE_DRIVER_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <vector>

#include "driver/history.h"
#include "driver/stopwatch.h"
#include "objectives/batched_input.h"
#include "objectives/objective.h"
#include "solvers/problem.h"
#include "solvers/solver.h"
#include "solvers/span.h"

namespace tfminimize {

/// What one thread of a batch needs to solve one problem after another.
struct Worker {
  solvers::Solver& solver;
  const solvers::Problem& problem;  ///< The solver's.
  Objective& objective;
  Span<double> lower{};  ///< The memory of the problem's bounds, if each problem of the batch has its own; else empty.
  Span<double> upper{};
};

/// The results of B problems with n variables and m constraints. Row or element i belongs to problem i.
///
/// If a problem ends with an exception, x keeps its starting point, its floating-point results are NaN, and its status
/// is kFailed. The same holds for a problem whose turn comes after the time limit, which has the status of that.
struct BatchRows {
  static constexpr std::int64_t kFailed = -1;

  Span<double> x;                 ///< [B * n], at first the starting points.
  Span<double> gradient;          ///< [B * n]
  Span<double> fun;               ///< [B]
  Span<double> constr_violation;  ///< [B]
  Span<double> multipliers;       ///< [B * m]
  Span<std::int64_t> nit;         ///< [B]
  Span<std::int64_t> nfev;        ///< [B]
  Span<std::int64_t> njev;        ///< [B]
  Span<std::int64_t> status;      ///< [B], SciPy's codes.
  Span<const char*> message;      ///< [B], null for a problem that ended with an exception.
  Span<History> histories;        ///< [B] or empty; their seconds count from the start of the batch.
  Span<const double> lower{};     ///< [B / starts * n], or empty if all problems have the same bounds.
  Span<const double> upper{};     ///< The same.
  std::size_t starts = 1;         ///< So many problems, one after another, have the same bounds and inputs.
};

/// Called about every 50 ms, in the thread that called solve_batch(), with the number of problems that are done. It may
/// throw to end the batch. It may be empty.
using BatchCallback = std::function<void(std::size_t done)>;

/// The outcome of a batch, apart from its rows.
struct BatchOutcome {
  Timing timing;                           ///< The sum over all solves.
  std::vector<std::exception_ptr> errors;  ///< [B], what the objective threw; null if nothing.
};

/// Solves B independent problems. Each worker has a thread, which takes the next problem until there are no more. A
/// problem that throws does not stop the others. The solvers' maxtime is a limit for the whole batch; without it, no
/// row depends on the number of workers.
///
/// `inputs` are the inputs of the objectives that differ between problems. What the callback throws comes through after
/// all threads have ended; the rows are then undefined.
BatchOutcome solve_batch(const std::vector<Worker>& workers, const std::vector<BatchedInput>& inputs,
                         const BatchRows& rows, const BatchCallback& callback);

}  // namespace tfminimize

#endif  // TFMINIMIZE_DRIVER_BATCH_H_
