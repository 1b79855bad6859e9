#include "solvers/lbfgsb/lbfgsb.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "solvers/aligned_array.h"
#include "solvers/bounds.h"
#include "solvers/finite.h"
#include "solvers/gradient_check.h"
#include "solvers/kernels/kernels.h"
#include "solvers/lbfgsb/memory_of_pairs.h"
#include "solvers/lbfgsb/quasi_newton_model.h"
#include "solvers/line_search/safeguarded_line_search.h"
#include "solvers/padding.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr double kMaxStep = 1e10;

constexpr std::uint64_t kSnapshotKind = 0x4C42464753420006;  // "LBFGSB" and the version of the format.

/// What the caller has just done when it calls advance().
enum class Phase {
  kStart,
  kTrial,
  kIteration,
  kLineSearch,  ///< Nothing: the solve was ended within a line search, which begins again if the solve is resumed.
};

/// Whether the solve might have gone on with other options.
bool depends_on_options(Status status) {
  switch (status) {
    case Status::kGradientConverged:
    case Status::kFunctionConverged:
    case Status::kMaxIterations:
    case Status::kMaxEvaluations:
    case Status::kMaxTime:
    case Status::kCallerStopped:
    case Status::kDiverged:
      return true;
    case Status::kRunning:
    case Status::kLineSearchFailed:
    case Status::kGradientMismatch:
    case Status::kNonFiniteStart:
    case Status::kUnboundedBelow:
      return false;
  }
  return false;
}

}  // namespace

struct Lbfgsb::State {
  State(Span<double> x, Span<double> gradient, Span<const double> lower, Span<const double> upper,
        const LbfgsbOptions& options);

  Span<const double> lower() const { return {v.lower, bounded ? v.n : 0}; }
  Span<const double> upper() const { return {v.upper, bounded ? v.n : 0}; }

  void begin();
  void resume();

  Request after_start();
  Request begin_iterations();
  Request after_trial(double f);
  Request after_iteration();

  Request begin_line_search();
  Request fail_line_search();
  void return_to_iterate();
  /// The largest |g_i| among the variables that can move downhill within their bounds.
  double free_gradient() const;
  /// Whether |f| has grown by half of the digits of its precision or more, and the gradient even more. Near a
  /// minimum the gradient is small compared with f; near a pole it outgrows f, and a standstill is only rounding.
  bool has_diverged() const;
  Request stop(Status status);

  SnapshotShape shape() const {
    return {kSnapshotKind, v.n, static_cast<std::uint64_t>(options.maxcor), bounded ? 1U : 0U,
            static_cast<std::uint64_t>(options.storage)};
  }
  /// Calls visit(pointer, bytes) for each piece of the state.
  template <typename Visit>
  void visit_state(Visit&& visit);
  /// Throws std::invalid_argument if no solve can have these scalars or this x.
  void check_state() const;

  /// The state, without the arrays and what the caller gives.
  struct Scalars {
    Request request = Request::kEvaluate;
    Status status = Status::kRunning;
    Phase phase = Phase::kStart;
    double f = 0;           ///< At the last completed iteration.
    double previous_f = 0;  ///< At the one before.
    double projected_gradient = 0;
    double start_size = 0;      ///< |f| at the start of the solve, at least 1 ...
    double start_gradient = 0;  ///< ... and the gradient of its free variables.
    double slope = 0;           ///< gᵀd at the start of the line search ...
    double end_slope = 0;       ///< ... and at its end.
    double direction_norm = 0;  ///< |d|
    std::int64_t nit = 0;
    std::int64_t nfev = 0;
    double largest_f = 0;  ///< The largest |f| of an iterate.
    SafeguardedLineSearch search;
  };
  static_assert(std::is_trivially_copyable_v<Scalars>);

  LbfgsbOptions options;
  bool bounded;
  bool boxed = false;  ///< Every variable has two bounds.
  double* gradient;
  AlignedArray<double> line_start;
  Vectors v;
  QuasiNewtonModel model;
  const Kernels& kernels;
  Scalars s;

 private:
  static Vectors view(Span<double> x, Span<double> gradient, Span<const double> lower, Span<const double> upper,
                      double* line_start);
};

Vectors Lbfgsb::State::view(Span<double> x, Span<double> gradient, Span<const double> lower, Span<const double> upper,
                            double* line_start) {
  Vectors v;
  v.n = x.size();
  v.x = x.data();
  v.gradient = gradient.data();
  v.lower = lower.data();
  v.upper = upper.data();
  v.start = line_start;
  v.start_gradient = line_start + padded(v.n);
  return v;
}

Lbfgsb::State::State(Span<double> x, Span<double> gradient_, Span<const double> lower, Span<const double> upper,
                     const LbfgsbOptions& options_)
    : options(options_),
      bounded(!lower.empty()),
      gradient(gradient_.data()),
      line_start(2 * padded(x.size())),
      v(view(x, gradient_, lower, upper, line_start.data())),
      model(v, static_cast<std::size_t>(options_.maxcor), options_.storage),
      kernels(solvers::kernels(options_.storage)) {
  std::fill_n(line_start.data(), line_start.size(), 0.0);  // They are saved even before the first line search.
  begin();
}

/// Begins a solve. The model is new or restarted.
void Lbfgsb::State::begin() {
  s = Scalars();
  project({v.x, v.n}, lower(), upper());
  boxed = bounded && all_finite(lower()) && all_finite(upper());
}

Request Lbfgsb::State::stop(Status status) {
  s.status = status;
  return Request::kStopped;
}

/// Takes the test again that has ended the solve, with the present options.
void Lbfgsb::State::resume() {
  if (s.request != Request::kStopped || !depends_on_options(s.status)) return;
  s.status = Status::kRunning;
  if (s.phase == Phase::kStart) {
    s.request = s.nfev == 0 ? Request::kEvaluate : begin_iterations();
  } else {
    s.request = s.phase == Phase::kLineSearch ? begin_line_search() : Request::kIteration;
  }
}

Request Lbfgsb::State::after_start() {
  ++s.nfev;
  // The direction is still zero: the slope shows only whether the gradient is finite.
  const TrialSums start = kernels.trial(v, model.matrix().direction_column());
  s.projected_gradient = start.projected_gradient;
  if (!std::isfinite(s.f) || !std::isfinite(start.slope)) return stop(Status::kNonFiniteStart);
  return begin_iterations();
}

Request Lbfgsb::State::begin_iterations() {
  if (s.projected_gradient <= options.gtol) return stop(Status::kGradientConverged);
  if (options.maxiter <= 0) return stop(Status::kMaxIterations);
  s.start_size = std::max(std::abs(s.f), 1.0);
  s.start_gradient = free_gradient();
  model.update_products();
  return begin_line_search();
}

double Lbfgsb::State::free_gradient() const {
  if (!bounded) return s.projected_gradient;
  double largest = 0;
  for (std::size_t i = 0; i < v.n; ++i) {
    const bool free = gradient[i] > 0 ? v.x[i] > v.lower[i] : v.x[i] < v.upper[i];
    if (free) largest = std::max(largest, std::abs(gradient[i]));
  }
  return largest;
}

bool Lbfgsb::State::has_diverged() const {
  const double growth = std::abs(s.f) / s.start_size;
  return std::sqrt(options.precision) * growth > 1 && free_gradient() / s.start_gradient > growth;
}

Request Lbfgsb::State::begin_line_search() {
  std::optional<DirectionSums> direction = model.find_direction();
  while (!direction) {
    if (model.matrix().size() == 0) return stop(Status::kLineSearchFailed);
    model.reset();
    direction = model.find_direction();
  }
  s.slope = direction->slope;
  s.direction_norm = std::sqrt(direction->squared_norm);
  MoreThuenteLineSearch::Params params;
  params.max_step = kMaxStep;
  double first_step = 1;
  const bool is_first = s.nit == 0 && model.matrix().size() == 0;  // No pair says how long a step may be.
  if (bounded) params.max_step = is_first ? 1 : std::min(kMaxStep, direction->max_step);
  if (is_first && !boxed) first_step = std::min(1 / s.direction_norm, params.max_step);
  s.largest_f = std::max(s.largest_f, std::abs(s.f));
  s.search =
      SafeguardedLineSearch({0, s.f, s.slope}, first_step, params, GradientCheck(options.precision, s.largest_f));
  s.phase = Phase::kTrial;
  if (first_step != 1) kernels.move(v, model.matrix().direction_column(), first_step);
  return Request::kEvaluate;
}

Request Lbfgsb::State::after_trial(double f) {
  const std::size_t d_column = model.matrix().direction_column();
  const TrialSums trial = kernels.trial(v, d_column);
  ++s.nfev;
  if (f == -std::numeric_limits<double>::infinity()) {
    s.f = f;
    return stop(Status::kUnboundedBelow);
  }
  do {
    const SafeguardedLineSearch::Verdict verdict = s.search.advance(f, trial.slope);
    if (verdict != SafeguardedLineSearch::Verdict::kTryNext) {
      // SciPy goes on from a point that rounds to the start, and calls it converged.
      if (verdict == SafeguardedLineSearch::Verdict::kNoProgress && s.search.gradient_is_wrong()) {
        return fail_line_search();
      }
      s.previous_f = s.f;
      s.f = f;
      s.end_slope = trial.slope;
      s.projected_gradient = trial.projected_gradient;
      ++s.nit;
      s.phase = Phase::kIteration;
      return Request::kIteration;
    }
    if (s.search.num_trials() >= options.maxls) return fail_line_search();
    // If the step rounds to the x that was just evaluated, its values are known.
  } while (!kernels.move(v, d_column, s.search.step()));
  return Request::kEvaluate;
}

/// Goes back from a trial to the start of the line search.
void Lbfgsb::State::return_to_iterate() {
  std::copy_n(v.start, v.n, v.x);
  std::copy_n(v.start_gradient, v.n, gradient);
}

Request Lbfgsb::State::fail_line_search() {
  return_to_iterate();
  if (model.matrix().size() == 0) {
    return stop(s.search.gradient_is_wrong() ? Status::kGradientMismatch : Status::kLineSearchFailed);
  }
  model.reset();
  return begin_line_search();
}

Request Lbfgsb::State::after_iteration() {
  if (s.nit >= options.maxiter) return stop(Status::kMaxIterations);
  if (s.nfev > options.maxfun) return stop(Status::kMaxEvaluations);
  if (s.projected_gradient <= options.gtol) {
    // In a box that is narrower than gtol, it says nothing.
    return stop(has_diverged() ? Status::kDiverged : Status::kGradientConverged);
  }
  // SciPy computes it from factr, a multiple of the rounding unit; this rounds in the same way.
  const double tolerance = kEpsilon * (options.ftol / kEpsilon);
  if (s.previous_f - s.f <= tolerance * std::max({std::abs(s.previous_f), std::abs(s.f), 1.0})) {
    return stop(has_diverged() ? Status::kDiverged : Status::kFunctionConverged);
  }
  const double step = s.search.step();
  const double s_dot_y = (s.end_slope - s.slope) * step;
  model.accept(step, s_dot_y, s_dot_y > kEpsilon * -s.slope * step);
  return begin_line_search();
}

void Lbfgsb::State::check_state() const {
  check_saved_enumerators(s.request, s.status, Status::kDiverged, s.phase, Phase::kLineSearch);
  check_saved((s.request == Request::kStopped) != (s.status == Status::kRunning), "its status with this request");
  check_saved(s.request == Request::kStopped ||
                  s.request == (s.phase == Phase::kIteration ? Request::kIteration : Request::kEvaluate),
              "its phase with this request");
  check_saved(is_count(s.nit) && is_count(s.nfev), "a count");
  check_saved(s.search.is_valid(), "its line search");
  check_saved(is_within({v.x, v.n}, lower(), upper()), "an x outside of its bounds");
}

template <typename Visit>
void Lbfgsb::State::visit_state(Visit&& visit) {
  visit_value(visit, s);
  visit_elements(visit, Span<double>(v.x, v.n));
  visit_elements(visit, Span<double>(gradient, v.n));
  visit_elements(visit, line_start);
  model.visit_state(visit);
}

namespace {

void check(const LbfgsbOptions& options) {
  if (options.maxcor < 1) throw std::invalid_argument("maxcor must be at least 1.");
  if (options.maxcor > kMaxPairs) {
    throw std::invalid_argument("maxcor must be at most " + std::to_string(kMaxPairs) + ".");
  }
  if (options.maxls < 1) throw std::invalid_argument("maxls must be at least 1.");
}

void check_same_pairs(const LbfgsbOptions& options, const LbfgsbOptions& before) {
  if (options.maxcor != before.maxcor) {
    throw std::invalid_argument("maxcor must stay what it was; another number of pairs needs a new solver.");
  }
  if (options.storage != before.storage) {
    throw std::invalid_argument("storage must stay what it was; pairs of another dtype need a new solver.");
  }
}

}  // namespace

Lbfgsb::Lbfgsb(const Problem& problem, const LbfgsbOptions& options) {
  const std::size_t n = problem.x.size();
  if (n == 0) throw std::invalid_argument("x has no elements; a solver needs at least one variable.");
  if (problem.gradient.size() != n) throw std::invalid_argument("gradient and x must have the same size.");
  if (!problem.constraints.empty()) {
    throw std::invalid_argument("L-BFGS-B takes no constraints, and was given " +
                                std::to_string(problem.constraints.size()) + ": use SLSQP.");
  }
  check(options);
  check_bounds(n, problem.lower, problem.upper);
  MemoryOfPairs(n, options.maxcor, options.storage).check();
  state_ = std::make_unique<State>(problem.x, problem.gradient, problem.lower, problem.upper, options);
}

void Lbfgsb::check_memory(std::size_t n, std::int64_t maxcor, Storage storage, std::size_t count, double beside) {
  const double x_and_gradient = 2 * sizeof(double) * static_cast<double>(n);
  MemoryOfPairs(n, maxcor, storage).check(count, x_and_gradient + beside);
}

Lbfgsb::~Lbfgsb() = default;
Lbfgsb::Lbfgsb(Lbfgsb&&) noexcept = default;
Lbfgsb& Lbfgsb::operator=(Lbfgsb&&) noexcept = default;

Request Lbfgsb::advance(double f, bool /*with_derivatives*/) {
  State::Scalars& s = state_->s;
  check_may_advance(s.request);
  switch (s.phase) {
    case Phase::kStart:
      s.f = f;
      s.request = state_->after_start();
      break;
    case Phase::kTrial:
      s.request = state_->after_trial(f);
      break;
    case Phase::kLineSearch:
      break;
    case Phase::kIteration:
      s.request = state_->after_iteration();
      break;
  }
  return s.request;
}

void Lbfgsb::stop(StopReason reason) {
  State::Scalars& s = state_->s;
  check_may_stop(s.request);
  if (s.phase == Phase::kStart) s.f = std::numeric_limits<double>::quiet_NaN();
  if (s.phase == Phase::kTrial) {
    state_->return_to_iterate();
    s.phase = Phase::kLineSearch;
  }
  s.request = state_->stop(reason == StopReason::kTimeLimit ? Status::kMaxTime : Status::kCallerStopped);
}

void Lbfgsb::restart(const LbfgsbOptions& options) {
  check_same_pairs(options, state_->options);
  check(options);
  check_bounds(state_->v.n, state_->lower(), state_->upper());
  state_->options = options;
  state_->model.restart();
  state_->begin();
}

void Lbfgsb::restart() { restart(state_->options); }

void Lbfgsb::resume(const LbfgsbOptions& options) {
  check_same_pairs(options, state_->options);
  check(options);
  state_->options = options;
  state_->resume();
}

bool Lbfgsb::warm_start(const Lbfgsb& other) {
  check_same_size(size(), other.size());
  check_may_warm_start(request(), nfev());
  return state_->model.take_pairs(other.state_->model);
}

Request Lbfgsb::request() const { return state_->s.request; }
Status Lbfgsb::status() const { return state_->s.status; }
double Lbfgsb::fun() const { return state_->s.f; }
double Lbfgsb::step_norm() const { return state_->s.search.step() * state_->s.direction_norm; }
double Lbfgsb::gradient_norm() const { return state_->s.projected_gradient; }
std::int64_t Lbfgsb::nit() const { return state_->s.nit; }
std::int64_t Lbfgsb::nfev() const { return state_->s.nfev; }
std::size_t Lbfgsb::size() const { return state_->v.n; }
double Lbfgsb::maxtime() const { return state_->options.maxtime; }
std::size_t Lbfgsb::num_corrections() const { return state_->model.matrix().size(); }

void Lbfgsb::copy_corrections(Span<double> s, Span<double> y) const {
  const CompactBfgsMatrix& matrix = state_->model.matrix();
  const std::size_t n = size();
  if (s.size() != matrix.size() * n || y.size() != s.size()) {
    throw std::invalid_argument("s and y must have num_corrections() · n elements.");
  }
  for (std::size_t pair = 0; pair < matrix.size(); ++pair) {
    for (std::size_t i = 0; i < n; ++i) {
      s[pair * n + i] = matrix.tiles().element(i, static_cast<std::size_t>(matrix.s_column(pair)));
      y[pair * n + i] = matrix.tiles().element(i, static_cast<std::size_t>(matrix.y_column(pair)));
    }
  }
}

std::vector<std::uint8_t> Lbfgsb::save() const {
  return save_snapshot(state_->shape(), [&](auto&& visit) { state_->visit_state(visit); });
}

void Lbfgsb::restore(Span<const std::uint8_t> saved) {
  restore_snapshot(
      saved, state_->shape(), "an L-BFGS-B", "size, maxcor, storage or kind of bounds",
      [&](auto&& visit) { state_->visit_state(visit); }, [&] { state_->check_state(); });
}

}  // namespace tfminimize::solvers
