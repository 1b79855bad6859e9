#include "solvers/slsqp/slsqp.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/memory.h"
#include "solvers/slsqp/ldlt_factors.h"
#include "solvers/slsqp/slsqp_subproblem.h"
#include "solvers/slsqp/upper_triangle.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {
namespace {

// Kraft's constants.
constexpr int kMostResets = 5;           // How often B may become the identity.
constexpr int kMostTrials = 11;          // Of a line search.
constexpr double kSmallestFactor = 0.1;  // Of a step that is shortened.

// A trial from which the step should go back to less than this lies at a pole that the model does not know. Where so
// many searches in succession went back from one to a tenth, and f fell there by as much as its slope promised, a tenth
// was too little: the next one goes back to a half.
constexpr double kPole = 1e-4;
constexpr int kTooShort = 2;
constexpr double kPromised = 0.9;
constexpr double kHalf = 0.5;

// A change of f is more than rounding if it is greater than this, in units of the precision of f. A gradient has the
// wrong sign if so many changes in succession are, to a quarter, the opposite of what it says.
constexpr double kNoise = 100;
constexpr int kReversed = 3;
constexpr double kAlike = 0.25;

constexpr std::uint64_t kSnapshotKind = 0x534C535150000002;  // "SLSQP" and the version of the format.

/// What advance() is called after.
enum class Phase { kStart, kTrial, kTrialDerivatives, kIteration, kDerivatives, kEnd };

bool all_finite(const double* values, std::size_t size) {
  // The sum of x - x: zero, unless one is not finite.
  double sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += values[i] - values[i];
  return sum == 0;
}

/// Counts the trials in succession at which a function whose slope is negative changed by the opposite of the slope.
/// A trial has no slope of its own, as GradientCheck needs: at a kink too, values rise in proportion to the step.
int count_reversed(int count, double change, double slope, double noise) {
  if (std::abs(change) <= noise) return count;
  return slope < 0 && std::abs(change + slope) <= kAlike * -slope ? count + 1 : 0;
}

}  // namespace

struct Slsqp::State {
  State(const SlsqpProblem& problem, const SlsqpOptions& options);

  void begin(const SlsqpOptions& options);

  Request after_start(double f, bool with_derivatives);
  Request after_trial(double f, bool with_derivatives);
  Request after_trial_derivatives();
  Request after_iteration();
  Request after_derivatives();

  Request iterate();
  bool reset_model();
  Request begin_line_search();
  Request move();
  Request retreat_from_wall(SlsqpStatus failure);
  Request shorten(double factor);
  Request fail_line_search(SlsqpStatus status);
  void compare_with_slopes(double f, double change_of_merit);
  Request accept(double f, bool with_derivatives);
  Request take_trial();
  Request give_up();
  bool update_model();
  Request end_iteration(SlsqpStatus status);
  Request stop(SlsqpStatus status);

  void complete_constraints();
  bool values_are_finite(double f) const { return std::isfinite(f) && all_finite(constraints(), m); }
  bool derivatives_are_finite() const;
  double total_violation() const { return problem.total_violation(); }
  double greatest_violation() const;
  double merit(double f) const;
  /// How far rounding may move f, where it is less precise than SciPy's.
  double rounding(double f) const {
    const bool coarse = options.precision > std::numeric_limits<double>::epsilon();
    return coarse ? options.precision * std::abs(f) : 0;
  }
  bool is_linear(std::size_t i) const { return !problem.offsets.empty() && !std::isnan(problem.offsets[i]); }

  const double* constraints() const { return problem.constraints.data(); }
  SnapshotShape shape() const {
    const std::uint64_t given = (problem.lower.empty() ? 0U : 1U) + (problem.offsets.empty() ? 0U : 2U);
    return {kSnapshotKind, n, m, problem.num_equalities, problem.num_variables, given};
  }
  /// Calls visit(pointer, bytes) for each piece of the state.
  template <typename Visit>
  void visit(Visit&& visit);
  /// Throws std::invalid_argument if the scalars or x cannot be those of a solve.
  void check_state() const;

  /// All that is neither an array nor given by the caller.
  struct Scalars {
    Request request = Request::kEvaluate;
    SlsqpStatus status = SlsqpStatus::kRunning;
    Phase phase = Phase::kStart;
    bool has_derivatives = false;
    bool met_wall = false;      ///< A trial of this search was not finite.
    bool kept_promise = false;  ///< The merit function fell at the trial by what its slope promised.
    bool cut = false;           ///< The trial follows one at a pole.
    int resets = 1;             ///< How often B became the identity.
    int trials = 0;             ///< In this line search.
    double f = 0;               ///< At the last completed iteration.
    double previous_f = 0;      ///< One before.
    double violation = 0;       ///< The greatest one, at the last completed iteration.
    double merit = 0;           ///< At the start of the line search,
    double merit_slope = 0;     ///< its directional derivative, times the length of the step,
    double slope = 0;           ///< and that of f.
    double trial_f = 0;         ///< At a trial that is taken if its derivatives are finite,
    SlsqpStatus trial_status = SlsqpStatus::kRunning;  ///< and the status then.
    double largest_f = 0;                              ///< The largest |f| at an iterate.
    int reversed_f = 0;          ///< Trials in succession where f changed by the opposite of what its slope says,
    int reversed_violation = 0;  ///< and where the violation did.
    int too_short = 0;           ///< Searches in succession that went back too far, see kTooShort.
    std::int64_t nit = 0;
    std::int64_t nfev = 0;
    std::int64_t njev = 0;
  };
  static_assert(std::is_trivially_copyable_v<Scalars>);

  SlsqpProblem problem;
  SlsqpOptions options;
  std::size_t n;
  std::size_t m;
  std::size_t stride;  ///< Of the vectors below, which are padded.
  const DenseKernels& kernels;
  SlsqpSubproblem subproblem;
  AlignedArray<double> x;      ///< A padded copy, for the linear constraints.
  AlignedArray<double> start;  ///< x where the line search began, and the constraints there.
  AlignedArray<double> start_constraints;
  AlignedArray<double> step;        ///< The step from there to x.
  AlignedArray<double> lagrangian;  ///< g - Jᵀλ there.
  AlignedArray<double> change;      ///< Of that gradient.
  std::vector<double> weights;      ///< The penalties μ of the merit function.
  Scalars s;
};

Slsqp::State::State(const SlsqpProblem& problem_, const SlsqpOptions& options_)
    : problem(problem_),
      n(problem_.x.size()),
      m(problem_.constraints.size()),
      stride(padded(n + 1)),
      kernels(dense_kernels()),
      subproblem(problem_),
      x(zeros(stride)),
      start(zeros(stride)),
      start_constraints(zeros(m)),
      step(zeros(stride)),
      lagrangian(zeros(stride)),
      change(zeros(stride)),
      weights(m) {
  begin(options_);
}

/// All that a solve starts with, of which the subproblem is new or restarted.
void Slsqp::State::begin(const SlsqpOptions& options_) {
  s = Scalars();
  options = options_;
  options.ftol = std::abs(options.ftol);
  std::fill(weights.begin(), weights.end(), 0.0);
  for (std::size_t i = 0; i < problem.lower.size(); ++i) problem.x[i] = std::max(problem.x[i], problem.lower[i]);
  for (std::size_t i = 0; i < problem.upper.size(); ++i) problem.x[i] = std::min(problem.x[i], problem.upper[i]);
}

void Slsqp::State::check_state() const {
  check_saved(is_enumerator(s.request, Request::kStopped) && is_enumerator(s.status, kLastSlsqpStatus) &&
                  is_enumerator(s.phase, Phase::kEnd),
              "its request, status or phase");
  const bool may_have_ended = s.request == Request::kStopped || s.request == Request::kIteration;
  check_saved(s.request == Request::kStopped ? s.status != SlsqpStatus::kRunning
                                             : may_have_ended || s.status == SlsqpStatus::kRunning,
              "its status with this request");
  constexpr std::array<Request, 6> kRequests{Request::kEvaluate,    Request::kEvaluate,
                                             Request::kDerivatives, Request::kIteration,
                                             Request::kDerivatives, Request::kStopped};  // of each phase
  check_saved(s.request == kRequests[static_cast<std::size_t>(s.phase)], "its phase with this request");
  const auto is_trials = [](int count) { return count >= 0 && count <= kMostTrials; };
  check_saved(is_count(s.nit) && is_count(s.nfev) && is_count(s.njev), "a count");
  check_saved(s.resets >= 1 && s.resets <= kMostResets + 1 && is_trials(s.trials), "a count");
  check_saved(
      is_trials(s.reversed_f) && is_trials(s.reversed_violation) && s.too_short >= 0 && s.too_short <= kTooShort,
      "a count");
  check_saved(is_bool(s.has_derivatives) && is_bool(s.met_wall) && is_bool(s.kept_promise) && is_bool(s.cut), "a flag");
  check_saved(is_enumerator(s.trial_status, kLastSlsqpStatus), "the status of a trial");
  for (std::size_t i = 0; i < problem.lower.size(); ++i) {
    check_saved(!(problem.x[i] < problem.lower[i] || problem.x[i] > problem.upper[i]), "an x outside of its bounds");
  }
}

template <typename Visit>
void Slsqp::State::visit(Visit&& visit) {
  visit(&s, sizeof s);
  visit(problem.x.data(), n * sizeof(double));
  visit(problem.gradient.data(), n * sizeof(double));
  visit(problem.constraints.data(), m * sizeof(double));
  visit(problem.jacobian.data(), problem.jacobian.size() * sizeof(double));
  for (const auto* array : {&start, &start_constraints, &step, &lagrangian}) {
    visit(array->data(), array->size() * sizeof(double));
  }
  visit(weights.data(), m * sizeof(double));
  subproblem.visit(visit);
}

double Slsqp::State::greatest_violation() const {
  double greatest = 0;
  for (std::size_t i = 0; i < m; ++i) {
    const double violation = problem.violation(i);
    if (std::isnan(violation)) return violation;
    greatest = std::max(greatest, violation);
  }
  return greatest;
}

/// Kraft's φ = f + Σ μ_i·violation_i, eq. (2.2.8).
double Slsqp::State::merit(double f) const {
  for (std::size_t i = 0; i < m; ++i) f += weights[i] * problem.violation(i);
  return f;
}

bool Slsqp::State::derivatives_are_finite() const {
  if (!all_finite(problem.gradient.data(), n)) return false;
  for (std::size_t i = 0; i < m; ++i) {
    if (!all_finite(problem.jacobian.data() + i * padded(n), n)) return false;
  }
  return true;
}

/// Computes the linear constraints at x.
void Slsqp::State::complete_constraints() {
  if (problem.offsets.empty()) return;
  std::copy_n(problem.x.data(), n, x.data());
  for (std::size_t i = 0; i < m; ++i) {
    if (!is_linear(i)) continue;
    const double product = kernels.dot(padded(n), problem.jacobian.data() + i * padded(n), x.data());
    problem.constraints[i] = product + problem.offsets[i];
  }
}

Request Slsqp::State::stop(SlsqpStatus status) {
  s.status = status;
  s.phase = Phase::kEnd;
  return Request::kStopped;
}

/// Reports an iteration, and then goes on, or ends with `status`.
Request Slsqp::State::end_iteration(SlsqpStatus status) {
  s.violation = greatest_violation();
  s.status = status;
  s.phase = Phase::kIteration;
  return Request::kIteration;
}

Request Slsqp::State::after_start(double f, bool with_derivatives) {
  ++s.nfev;
  complete_constraints();
  s.f = f;
  s.largest_f = std::abs(f);
  s.violation = greatest_violation();
  s.has_derivatives = with_derivatives;
  if (!values_are_finite(f)) return stop(SlsqpStatus::kNonFiniteStart);
  if (with_derivatives) return after_derivatives();
  s.phase = Phase::kDerivatives;
  return Request::kDerivatives;
}

Request Slsqp::State::after_derivatives() {
  ++s.njev;
  s.has_derivatives = true;
  return derivatives_are_finite() ? iterate() : stop(SlsqpStatus::kNonFiniteStart);
}

Request Slsqp::State::after_iteration() {
  if (s.status != SlsqpStatus::kRunning) return stop(s.status);
  ++s.njev;
  return update_model() ? iterate() : give_up();
}

/// From derivatives at x to the first trial of a line search, or to the end.
Request Slsqp::State::iterate() {
  while (true) {
    if (s.nit >= options.maxiter) return stop(SlsqpStatus::kMaxIterations);
    ++s.nit;
    const SlsqpStatus solved = subproblem.solve(step.data(), options);
    if (solved != SlsqpStatus::kRunning) return stop(solved);
    std::copy_n(problem.gradient.data(), n, lagrangian.data());
    subproblem.subtract_constraint_gradients(lagrangian.data());
    const double total = total_violation();
    double slope = 0;
    for (std::size_t i = 0; i < n; ++i) slope += problem.gradient[i] * step[i];
    double complementarity = 0;
    double penalty = 0;
    double reducible = 0;
    for (std::size_t i = 0; i < m; ++i) {
      const double size = std::abs(subproblem.multipliers()[i]);
      const double leeway = subproblem.leeway()[i];
      complementarity += size * std::abs(problem.constraints[i] + leeway);
      weights[i] = std::max(size, (weights[i] + size) / 2);
      const double violation = problem.violation(i);
      penalty += weights[i] * violation;
      reducible += weights[i] * (violation - std::min(violation, std::abs(leeway)));
    }
    if (std::abs(slope) + complementarity < options.ftol && total < options.ftol && !subproblem.relaxed()) {
      return end_iteration(SlsqpStatus::kConverged);
    }
    if (std::abs(slope) < options.ftol && subproblem.is_stuck(options.ftol)) return stop(subproblem.contradiction());
    s.previous_f = s.f;
    s.merit = s.f + penalty;
    s.slope = slope;
    s.merit_slope = slope - subproblem.progress() * reducible;
    const bool stays = subproblem.progress() == 0 && std::abs(slope) < options.ftol;
    if (s.merit_slope < 0 && !stays) return begin_line_search();
    if (!reset_model()) return give_up();
  }
}

/// False if it has been done too often.
bool Slsqp::State::reset_model() {
  subproblem.reset();
  return ++s.resets <= kMostResets;
}

/// There is no descent: converged by a looser test, or failed.
Request Slsqp::State::give_up() {
  const double tolerance = 10 * options.ftol;
  const double length = std::sqrt(kernels.dot(stride, step.data(), step.data()));
  const bool converged = (std::abs(s.f - s.previous_f) < tolerance || length < tolerance) &&
                         total_violation() < tolerance && greatest_violation() <= options.ftol && !subproblem.relaxed();
  if (converged) return stop(SlsqpStatus::kConverged);
  return stop(subproblem.singular() ? subproblem.contradiction() : SlsqpStatus::kNoDescent);
}

Request Slsqp::State::begin_line_search() {
  std::copy_n(problem.x.data(), n, start.data());
  std::copy_n(constraints(), m, start_constraints.data());
  s.trials = 0;
  s.cut = false;
  s.met_wall = false;
  s.reversed_f = 0;
  s.reversed_violation = 0;
  return move();
}

/// x = start + step, within the bounds.
Request Slsqp::State::move() {
  for (std::size_t i = 0; i < n; ++i) problem.x[i] = start[i] + step[i];
  for (std::size_t i = 0; i < problem.lower.size(); ++i) problem.x[i] = std::max(problem.x[i], problem.lower[i]);
  for (std::size_t i = 0; i < problem.upper.size(); ++i) problem.x[i] = std::min(problem.x[i], problem.upper[i]);
  ++s.trials;
  s.phase = Phase::kTrial;
  s.has_derivatives = false;
  return Request::kEvaluate;
}

Request Slsqp::State::after_trial(double f, bool with_derivatives) {
  ++s.nfev;
  complete_constraints();
  if (f == -std::numeric_limits<double>::infinity() && values_are_finite(0) && greatest_violation() <= options.ftol) {
    s.f = f;
    s.has_derivatives = with_derivatives;
    s.violation = greatest_violation();
    return stop(SlsqpStatus::kUnboundedBelow);
  }
  if (!values_are_finite(f)) return retreat_from_wall(SlsqpStatus::kNonFiniteSearch);
  const double change_of_merit = merit(f) - s.merit;
  compare_with_slopes(f, change_of_merit);
  s.kept_promise = change_of_merit <= kPromised * s.merit_slope;
  if (change_of_merit <= s.merit_slope / 10) return accept(f, with_derivatives);
  if (s.trials < kMostTrials) return shorten(s.merit_slope / (2 * (s.merit_slope - change_of_merit)));
  const bool reversed = std::max(s.reversed_f, s.reversed_violation) >= kReversed;
  if (reversed) return fail_line_search(SlsqpStatus::kGradientMismatch);
  return accept(f, with_derivatives);
}

void Slsqp::State::compare_with_slopes(double f, double change_of_merit) {
  const double noise = kNoise * options.precision;
  const double change_of_f = f - s.f;
  s.reversed_f = count_reversed(s.reversed_f, change_of_f, s.slope, noise * std::max(s.largest_f, std::abs(f)));
  s.reversed_violation = count_reversed(s.reversed_violation, change_of_merit - change_of_f, s.merit_slope - s.slope,
                                        noise * std::max(s.largest_f, std::abs(s.merit)));
}

/// From a trial where something is not finite.
Request Slsqp::State::retreat_from_wall(SlsqpStatus failure) {
  s.met_wall = true;
  return s.trials < kMostTrials ? shorten(0) : fail_line_search(failure);
}

/// Shortens the step by this factor, or as much as is allowed.
Request Slsqp::State::shorten(double factor) {
  const double least = s.trials == 1 && s.too_short >= kTooShort ? kHalf : kSmallestFactor;
  s.cut = factor < kPole;
  factor = std::max(factor, least);
  for (std::size_t i = 0; i < n; ++i) step[i] *= factor;
  s.merit_slope *= factor;
  s.slope *= factor;
  return move();
}

/// Ends the solve where the line search began.
Request Slsqp::State::fail_line_search(SlsqpStatus status) {
  std::copy_n(start.data(), n, problem.x.data());
  std::copy_n(start_constraints.data(), m, problem.constraints.data());
  s.has_derivatives = false;
  return stop(status);
}

/// Takes the trial, if its derivatives turn out to be finite.
Request Slsqp::State::accept(double f, bool with_derivatives) {
  s.trial_f = f;
  s.has_derivatives = with_derivatives;
  const double length = std::sqrt(kernels.dot(stride, step.data(), step.data()));
  const bool converged = (std::abs(f - s.previous_f) < std::max(options.ftol, rounding(f)) || length < options.ftol) &&
                         total_violation() < options.ftol && !subproblem.relaxed();
  s.trial_status = converged ? SlsqpStatus::kConverged : SlsqpStatus::kRunning;
  // The last x of a solve needs no derivatives, unless it was hard to find a point that has any.
  if (converged && !s.met_wall) return take_trial();
  if (with_derivatives) return after_trial_derivatives();
  s.phase = Phase::kTrialDerivatives;
  return Request::kDerivatives;
}

Request Slsqp::State::after_trial_derivatives() {
  s.has_derivatives = true;
  if (!derivatives_are_finite()) return retreat_from_wall(SlsqpStatus::kNonFiniteDerivatives);
  return take_trial();
}

Request Slsqp::State::take_trial() {
  s.f = s.trial_f;
  s.too_short = s.trials == 2 && s.cut && s.kept_promise ? std::min(s.too_short + 1, kTooShort) : 0;
  s.largest_f = std::max(s.largest_f, std::abs(s.f));
  return end_iteration(s.trial_status);
}

/// Takes the change of the gradient of the Lagrangian along the step into B. False if it must be reset, too often.
bool Slsqp::State::update_model() {
  std::copy_n(problem.gradient.data(), n, change.data());
  subproblem.subtract_constraint_gradients(change.data());
  kernels.add(stride, -1, lagrangian.data(), change.data());
  return subproblem.update(step.data(), change.data()) || reset_model();
}

namespace {

void check(const SlsqpProblem& problem, const SlsqpOptions& options) {
  const std::size_t n = problem.x.size();
  const std::size_t m = problem.constraints.size();
  if (n == 0) throw std::invalid_argument("x must have at least one element.");
  if (problem.gradient.size() != n) throw std::invalid_argument("gradient must have the size of x.");
  if (problem.jacobian.size() != m * SlsqpProblem::stride(n)) {
    throw std::invalid_argument("jacobian must have a row of stride elements for each constraint.");
  }
  if (problem.num_equalities > m) {
    throw std::invalid_argument("num_equalities must be at most the size of constraints.");
  }
  if (problem.num_variables > n) throw std::invalid_argument("num_variables must be at most the size of x.");
  if (!problem.offsets.empty() && problem.offsets.size() != m) {
    throw std::invalid_argument("offsets must be empty or have the size of constraints.");
  }
  if (problem.lower.size() != problem.upper.size() || (!problem.lower.empty() && problem.lower.size() != n)) {
    throw std::invalid_argument("lower and upper must both be empty or have the size of x.");
  }
  for (std::size_t i = 0; i < problem.lower.size(); ++i) {
    if (!(problem.lower[i] <= problem.upper[i])) {
      throw std::invalid_argument("each lower bound must be at most its upper bound.");
    }
  }
  if (!(options.precision > 0 && options.precision < 1)) {
    throw std::invalid_argument("precision must be between 0 and 1.");
  }
  if (options.maxiter < 0) throw std::invalid_argument("maxiter must be at least 0.");
}

}  // namespace

Slsqp::Slsqp(const SlsqpProblem& problem, const SlsqpOptions& options) {
  check(problem, options);
  check_memory(problem.x.size(), problem.constraints.size());
  state_ = std::make_unique<State>(problem, options);
}

void Slsqp::check_memory(std::size_t n, std::size_t m, std::size_t count) {
  // The factors of B, the first columns of Q, and a dozen vectors; and of each constraint its row of the Jacobian, with
  // padding, and 16 numbers.
  const auto size = static_cast<double>(n);
  const double doubles = size * (size + static_cast<double>(kFewColumns + 12)) + static_cast<double>(m) * (size + 24);
  const std::string solvers = count == 1 ? "SLSQP" : "SLSQP, in " + std::to_string(count) + " threads,";
  solvers::check_memory(
      8 * doubles * static_cast<double>(count),
      solvers + " with " + std::to_string(n) + " variables and " + std::to_string(m) + " constraints",
      std::string(count == 1 ? "" : "give a smaller num_threads, ") +
          "use L-BFGS-B if there are no constraints but bounds, or give fewer variables; the memory grows with their "
          "square.");
}

Slsqp::~Slsqp() = default;
Slsqp::Slsqp(Slsqp&&) noexcept = default;
Slsqp& Slsqp::operator=(Slsqp&&) noexcept = default;

Request Slsqp::advance(double f, bool with_derivatives) {
  State::Scalars& s = state_->s;
  if (s.request == Request::kStopped) throw std::logic_error("advance() was called on a solver that has stopped.");
  switch (s.phase) {
    case Phase::kStart:
      s.request = state_->after_start(f, with_derivatives);
      break;
    case Phase::kTrial:
      s.request = state_->after_trial(f, with_derivatives);
      break;
    case Phase::kTrialDerivatives:
      s.request = state_->after_trial_derivatives();
      break;
    case Phase::kIteration:
      s.request = state_->after_iteration();
      break;
    case Phase::kDerivatives:
      s.request = state_->after_derivatives();
      break;
    case Phase::kEnd:
      break;
  }
  return s.request;
}

void Slsqp::stop() {
  if (state_->s.request != Request::kIteration) {
    throw std::logic_error("stop() is allowed only when an iteration is complete.");
  }
  state_->s.request = state_->stop(SlsqpStatus::kCallerStopped);
}

void Slsqp::restart(const SlsqpOptions& options) {
  check(state_->problem, options);
  state_->subproblem.restart();
  state_->begin(options);
}

void Slsqp::restart() { restart(state_->options); }

Request Slsqp::request() const { return state_->s.request; }
SlsqpStatus Slsqp::status() const {
  return state_->s.request == Request::kStopped ? state_->s.status : SlsqpStatus::kRunning;
}
bool Slsqp::expects_derivatives() const {
  const State::Scalars& s = state_->s;
  return s.request == Request::kEvaluate && (s.phase == Phase::kStart || s.trials == 1);
}
bool Slsqp::has_derivatives() const { return state_->s.has_derivatives; }
double Slsqp::fun() const { return state_->s.f; }
double Slsqp::constr_violation() const { return state_->s.violation; }
std::int64_t Slsqp::nit() const { return state_->s.nit; }
std::int64_t Slsqp::nfev() const { return state_->s.nfev; }
std::int64_t Slsqp::njev() const { return state_->s.njev; }
std::size_t Slsqp::size() const { return state_->n; }
Span<const double> Slsqp::multipliers() const { return state_->subproblem.multipliers(); }

std::vector<std::uint8_t> Slsqp::save() const {
  return save_snapshot(state_->shape(), [&](auto&& visitor) { state_->visit(visitor); });
}

void Slsqp::restore(Span<const std::uint8_t> saved) {
  restore_snapshot(
      saved, state_->shape(), "an SLSQP", "number of variables or constraints, or kind of bounds or constraints",
      [&](auto&& visitor) { state_->visit(visitor); }, [&] { state_->check_state(); });
}

}  // namespace tfminimize::solvers
