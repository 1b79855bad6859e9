#ifndef TFMINIMIZE_SOLVERS_BFGS_BFGS_STATE_H_
#define TFMINIMIZE_SOLVERS_BFGS_BFGS_STATE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "solvers/aligned_array.h"
#include "solvers/bfgs/bfgs.h"
#include "solvers/bfgs/bfgs_update.h"
#include "solvers/bfgs/inverse_hessian.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/line_search/wolfe_line_search.h"
#include "solvers/padding.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {

/// The iterations of Bfgs (bfgs_state.cc).
struct Bfgs::State {
  static constexpr std::size_t kNumVectors = 6;
  static constexpr std::uint64_t kSnapshotKind = 0x4246475300000001;  // "BFGS" and the version of the format.

  /// What the caller has just done when it calls advance().
  enum class Phase {
    kStart,
    kStartDerivatives,
    kTrial,
    kTrialDerivatives,
    kIteration,
    kLineSearch,  ///< Nothing: the solve was ended within a line search, which begins again if the solve is resumed.
  };

  State(const Problem& problem, BfgsOptions options);
  /// What it allocates for n variables.
  static double bytes(std::size_t n) {
    return InverseHessian::bytes(n) + sizeof(double) * static_cast<double>(kNumVectors * padded(n));
  }

  void begin();
  void resume();

  void take_gradient();
  Request after_start();
  Request begin_iterations();
  Request begin_next();
  Request begin_line_search();
  Request ask_for_trial();
  Request after_trial();
  Request after_iteration();
  Request fail_line_search();
  void return_to_iterate();
  /// Moves x to this step from the iterate. False if x stays the same.
  bool move(double step);
  void update();
  std::optional<UpdateCoefficients> take_pair(const double* y);
  bool update_direction(const UpdateCoefficients& c);
  void begin_again(double scale);
  void find_direction();
  /// The norm of the gradient that is compared with gtol.
  double stopping_norm() const;
  double max_norm() const;
  double dot(const double* a, const double* b) const { return dense_kernels().dot(padded(n), a, b); }
  std::int64_t maxiter() const { return options.maxiter.value_or(200 * static_cast<std::int64_t>(num_variables)); }
  Request stop(BfgsStatus status);

  SnapshotShape shape() const { return {kSnapshotKind, n, num_variables}; }
  template <typename Visit>
  void visit_state(Visit&& visit);
  void check_state() const;
  /// What the solver asks for in this phase.
  static Request request_in(Phase phase);

  /// The state, without the arrays and what the caller gives.
  struct Scalars {
    Request request = Request::kEvaluate;
    BfgsStatus status = BfgsStatus::kRunning;
    Phase phase = Phase::kStart;
    double f = 0;           ///< At the last completed iteration.
    double previous_f = 0;  ///< At the one before.
    double trial_f = 0;     ///< At x.
    double slope = 0;       ///< gᵀp at the start of the line search.
    double direction_norm = 0;
    double largest_f = 0;        ///< The largest |f| of an iterate.
    bool has_pair = false;       ///< H was updated at least once, or was given.
    bool has_gradient = false;   ///< `gradient` is that at x,
    bool used_gradient = false;  ///< and counted in njev.
    std::int64_t nit = 0;
    std::int64_t nfev = 0;
    std::int64_t njev = 0;
    std::int64_t num_skipped_updates = 0;
    std::int64_t num_resets = 0;
    WolfeLineSearch search;
  };
  static_assert(std::is_trivially_copyable_v<Scalars>);

  BfgsOptions options;
  std::size_t n;
  std::size_t num_variables;
  double* x;
  double* problem_gradient;
  AlignedArray<double> vectors;
  double* start;           ///< The iterate,
  double* start_gradient;  ///< and its gradient.
  double* gradient;        ///< At x, padded.
  double* p;               ///< The direction.
  double* s;               ///< The last step.
  double* product;         ///< H·gradient, then Hy.
  InverseHessian h;
  Scalars scalars;
};

template <typename Visit>
void Bfgs::State::visit_state(Visit&& visit) {
  visit_value(visit, scalars);
  visit_elements(visit, Span<double>(x, n));
  visit_elements(visit, Span<double>(problem_gradient, n));
  visit_elements(visit, vectors);
  h.visit_state(visit);
}

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_BFGS_BFGS_STATE_H_
