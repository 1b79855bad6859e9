#ifndef TFMINIMIZE_SOLVERS_SLSQP_SLSQP_STATE_H_
#define TFMINIMIZE_SOLVERS_SLSQP_SLSQP_STATE_H_

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/finite.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/slsqp/slsqp.h"
#include "solvers/slsqp/slsqp_subproblem.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {

/// The iterations of Slsqp (slsqp_iterations.cc) and their line searches (slsqp_line_search.cc).
struct Slsqp::State {
  static constexpr int kMaxResets = 5;   ///< B may become the identity this often (Kraft).
  static constexpr int kMaxTrials = 11;  ///< Of a line search (Kraft).
  /// A trial lies at a pole that the model does not know if its merit asks for less than kPole of the step. If this
  /// many searches in a row went from such a trial to a tenth of the step and f fell there as much as its slope
  /// predicted, a tenth is too short: the next search backtracks to a half.
  static constexpr int kMaxShortSearches = 2;

  /// What the caller has just done when it calls advance().
  enum class Phase {
    kStart,
    kTrial,
    kTrialDerivatives,
    kIteration,  ///< Which has accepted a trial.
    kStartDerivatives,
    kStationary,            ///< An iteration that has found x to be a minimum.
    kIterationDerivatives,  ///< At an x that was the last one, until the solve was resumed.
    // The solver has stopped and will not advance, unless the solve is resumed:
    kLimit,        ///< at the limit, before an iteration,
    kNoDescent,    ///< or because no direction descends,
    kInterrupted,  ///< or because the caller ended it before an iteration was complete,
    kInSearch,     ///< or in its line search.
    kEnd,          ///< It is not resumed.
  };

  /// The state, without the arrays and what the caller gives.
  struct Scalars {
    Request request = Request::kEvaluate;
    SlsqpStatus status = SlsqpStatus::kRunning;
    Phase phase = Phase::kStart;
    bool has_derivatives = false;
    bool met_non_finite = false;     ///< A trial of this search was not finite,
    bool met_wall = false;           ///< or of an earlier one.
    bool is_model_doubtful = false;  ///< B was updated near a wall, where f may be so steep that B allows no step.
    bool fell_as_predicted = false;  ///< The merit function fell at the trial as much as its slope predicted.
    bool follows_pole = false;       ///< The trial follows one at a pole.
    int resets = 1;                  ///< How often B became the identity.
    int trials = 0;                  ///< In this line search.
    double f = 0;                    ///< At the last completed iteration.
    double previous_f = 0;           ///< At the one before.
    double violation = 0;            ///< The largest violation of a constraint at the last completed iteration.
    double stationarity = 0;         ///< |gᵀs| + Σ |λ_i·c_i| of the last subproblem.
    double merit = 0;                ///< The merit function at the start of the line search,
    double merit_slope = 0;          ///< its directional derivative times the length of the step,
    double slope = 0;                ///< and the same for f.
    double trial_f = 0;              ///< At a trial that the solver accepts if its derivatives are finite.
    bool changes_little = false;     ///< The step to it, or its change of f, is within the tolerance.
    double largest_f = 0;            ///< The largest |f| at an iterate.
    int reversed_f = 0;              ///< Trials in a row at which f changed by the opposite of what its slope says,
    int reversed_violation = 0;      ///< and at which the violation did.
    int short_searches = 0;          ///< Searches in a row that backtracked too far, see kMaxShortSearches.
    std::int64_t nit = 0;
    std::int64_t nfev = 0;
    std::int64_t njev = 0;
  };
  static_assert(std::is_trivially_copyable_v<Scalars>);

  State(const Problem& problem, const SlsqpOptions& options);

  void begin(const SlsqpOptions& options);
  void set_options(const SlsqpOptions& options);
  void resume();
  bool warm_start(const State& other);

  Request after_start(double f, bool with_derivatives);
  Request after_start_derivatives();
  Request after_iteration();
  Request after_iteration_derivatives();
  Request after_trial(double f, bool with_derivatives);
  Request after_trial_derivatives();
  Request stop(SlsqpStatus status, Phase phase = Phase::kEnd);
  void return_to_iterate();
  Phase interrupt();

  double step_length() const { return std::sqrt(kernels.dot(stride, step.data(), step.data())); }
  double lagrangian_gradient_norm();

  SnapshotShape shape() const;
  /// Calls visit(pointer, bytes) for each piece of the state.
  template <typename Visit>
  void visit_state(Visit&& visit) {
    visit_value(visit, s);
    visit_elements(visit, problem.x);
    visit_elements(visit, problem.gradient);
    visit_elements(visit, problem.constraints);
    visit_elements(visit, problem.jacobian);
    for (auto* array : {&start, &start_constraints, &step, &lagrangian_gradient}) visit_elements(visit, *array);
    visit_elements(visit, penalties);
    subproblem.visit_state(visit);
  }
  /// Throws std::invalid_argument if no solve can have these scalars or this x.
  void check_state() const;

  Problem problem;
  SlsqpOptions options;
  std::size_t n;
  std::size_t m;
  std::size_t stride;  ///< The padded length of the vectors below.
  const DenseKernels& kernels;
  SlsqpSubproblem subproblem;
  AlignedArray<double> x;      ///< A padded copy, for the linear constraints.
  AlignedArray<double> start;  ///< x at the start of the line search, and the constraints there.
  AlignedArray<double> start_constraints;
  AlignedArray<double> step;                 ///< From there to x.
  AlignedArray<double> lagrangian_gradient;  ///< g - Jᵀλ there.
  AlignedArray<double> gradient_change;      ///< The change of that gradient along the step.
  std::vector<double> penalties;             ///< μ of the merit function.
  Scalars s;

 private:
  /// What the quadratic model says of the step.
  struct StepModel {
    double slope = 0;            ///< gᵀs
    double complementarity = 0;  ///< Σ |λ_i·c_i|
    double penalty = 0;          ///< Σ μ_i·violation_i,
    double reducible = 0;        ///< and the part of it that the linearised constraints can remove.
  };

  Request iterate();
  SlsqpStatus find_step();
  StepModel update_penalties();
  bool is_stationary() const;
  bool is_little_change(double f) const;
  /// Whether the last step is short because the trial before it was not finite.
  bool is_cut_short() const { return s.met_non_finite && s.follows_pole; }
  bool has_converged() const { return s.changes_little && !is_cut_short() && !s.is_model_doubtful; }
  void renew_model();
  bool reset_model();
  bool update_model();
  Request stop_without_descent();
  Request end_iteration(SlsqpStatus status, Phase phase);

  Request begin_line_search();
  Request move();
  Request return_to_trial();
  Request backtrack(double factor);
  Request backtrack_from_non_finite(SlsqpStatus failure);
  Request fail_line_search(SlsqpStatus status);
  void count_reversed_trials(double f, double merit_change);
  Request request_derivatives(double f, bool with_derivatives);
  Request accept_trial();

  void evaluate_linear_constraints();
  bool values_are_finite(double f) const { return std::isfinite(f) && all_finite(problem.constraints); }
  bool derivatives_are_finite() const;
  double total_violation() const { return problem.total_violation(); }
  double max_violation() const;
  double merit(double f) const;
  /// How much rounding may change f, if f is less precise than SciPy's. Near a wall it counts in any case: with an ftol
  /// below it, a new B would always find a change and be doubtful again.
  double rounding(double f) const {
    if (s.met_wall) return 4 * options.precision * std::abs(f);
    const bool coarse = options.precision > std::numeric_limits<double>::epsilon();
    return coarse ? options.precision * std::abs(f) : 0;
  }
  bool is_linear(std::size_t i) const { return !problem.offsets.empty() && !std::isnan(problem.offsets[i]); }
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_SLSQP_STATE_H_
