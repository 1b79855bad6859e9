#include "solvers/bfgs/bfgs.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "solvers/aligned_array.h"
#include "solvers/bfgs/inverse_hessian.h"
#include "solvers/gradient_check.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/line_search/wolfe_line_search.h"
#include "solvers/memory.h"
#include "solvers/padding.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr std::uint64_t kSnapshotKind = 0x4246475300000001;  // "BFGS" and the version of the format.
constexpr std::size_t kNumVectors = 6;

// A vector whose square is smaller than its terms' by this has lost four digits; it is then made by a pass of its own.
constexpr double kCancelled = 1e-8;

/// What the caller has just done when it calls advance().
enum class Phase {
  kStart,
  kStartDerivatives,
  kTrial,
  kTrialDerivatives,
  kIteration,
  kLineSearch,  ///< Nothing: the solve was ended within a line search, which begins again if the solve is resumed.
};

/// What the solver asks for in this phase.
Request request_in(Phase phase) {
  switch (phase) {
    case Phase::kStartDerivatives:
    case Phase::kTrialDerivatives:
      return Request::kDerivatives;
    case Phase::kIteration:
      return Request::kIteration;
    case Phase::kStart:
    case Phase::kTrial:
    case Phase::kLineSearch:
      break;
  }
  return Request::kEvaluate;
}

/// Whether the solve might have gone on with other options.
bool depends_on_options(BfgsStatus status) {
  switch (status) {
    case BfgsStatus::kGradientConverged:
    case BfgsStatus::kStepConverged:
    case BfgsStatus::kMaxIterations:
    case BfgsStatus::kMaxTime:
    case BfgsStatus::kCallerStopped:
      return true;
    case BfgsStatus::kRunning:
    case BfgsStatus::kPrecisionLoss:
    case BfgsStatus::kGradientMismatch:
    case BfgsStatus::kUnboundedBelow:
    case BfgsStatus::kNan:
    case BfgsStatus::kInfiniteStart:
      return false;
  }
  return false;
}

/// What the solver and its matrix need for n variables.
double bytes_of(std::size_t n) {
  return InverseHessian::bytes(n) + sizeof(double) * static_cast<double>(kNumVectors * padded(n));
}

void check_memory_for(std::size_t n, std::size_t count, double beside) {
  MemoryNeed need;
  need.solver = "BFGS";
  need.sizes = std::to_string(n) + " variables";
  need.bytes = bytes_of(n) + beside;
  need.count = count;
  solvers::check_memory(need, [&](double free) {
    // n²/2 doubles.
    const auto fits = static_cast<std::int64_t>(std::sqrt(std::max(free - beside, 0.0) / sizeof(double) * 2));
    return std::string(count == 1 ? "" : "give a smaller num_threads, ") + "use L-BFGS-B, which needs a few vectors, " +
           "or " + std::to_string(fits) + " variables or fewer.";
  });
}

void check(const BfgsOptions& options, std::size_t n) {
  if (options.hess_inv0.data != nullptr && (options.hess_inv0.rows != n || options.hess_inv0.columns != n)) {
    throw std::invalid_argument("hess_inv0 must have a row and a column for each of the " + std::to_string(n) +
                                " variables.");
  }
  if (!(0 < options.c1 && options.c1 < options.c2 && options.c2 < 1)) {
    throw std::invalid_argument("c1 and c2 must satisfy 0 < c1 < c2 < 1.");
  }
}

}  // namespace

struct Bfgs::State {
  State(const Problem& problem, BfgsOptions options);

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

Bfgs::State::State(const Problem& problem, BfgsOptions options_)
    : options(std::move(options_)),
      n(problem.x.size()),
      num_variables(problem.num_variables == 0 ? n : problem.num_variables),
      x(problem.x.data()),
      problem_gradient(problem.gradient.data()),
      vectors(AlignedArray<double>::zeros(kNumVectors * padded(n))),
      start(vectors.data()),
      start_gradient(start + padded(n)),
      gradient(start_gradient + padded(n)),
      p(gradient + padded(n)),
      s(p + padded(n)),
      product(s + padded(n)),
      h(n) {
  begin();
}

/// Begins a solve.
void Bfgs::State::begin() {
  scalars = Scalars();
  if (options.hess_inv0.data == nullptr) {
    h.set_identity(1);
  } else {
    h.set({options.hess_inv0.data.get(), n * n});
    scalars.has_pair = true;
  }
}

Request Bfgs::State::stop(BfgsStatus status) {
  scalars.status = status;
  return Request::kStopped;
}

/// Takes the test again that has ended the solve, with the present options.
void Bfgs::State::resume() {
  if (scalars.request != Request::kStopped || !depends_on_options(scalars.status)) return;
  const bool has_updated = scalars.status == BfgsStatus::kMaxIterations && scalars.nit > 0;
  scalars.status = BfgsStatus::kRunning;
  if (scalars.phase == Phase::kStart) {
    scalars.request = Request::kEvaluate;
  } else if (scalars.phase == Phase::kStartDerivatives) {
    scalars.request = scalars.has_gradient ? begin_iterations() : Request::kDerivatives;
  } else {
    scalars.request = scalars.phase == Phase::kLineSearch || has_updated ? begin_next() : Request::kIteration;
  }
}

/// The next iteration, if there is to be one. The direction is ready.
Request Bfgs::State::begin_next() {
  if (scalars.nit >= maxiter()) return stop(BfgsStatus::kMaxIterations);
  return begin_line_search();
}

double Bfgs::State::max_norm() const {
  double largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(gradient[i]));
  return largest;
}

double Bfgs::State::stopping_norm() const {
  if (options.norm == kInfinity) return max_norm();
  if (options.norm == -kInfinity) {
    std::size_t zeros = 0;
    double smallest = kInfinity;
    for (std::size_t i = 0; i < n; ++i) {
      const double size = std::abs(gradient[i]);
      if (size == 0) ++zeros;
      if (size > 0) smallest = std::min(smallest, size);
    }
    return zeros > n - num_variables ? 0 : smallest;  // The gradient of what is padding is zero.
  }
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += std::pow(std::abs(gradient[i]), options.norm);
  return std::pow(sum, 1 / options.norm);
}

/// Reads the derivatives at x.
void Bfgs::State::take_gradient() {
  std::copy_n(problem_gradient, n, gradient);
  scalars.has_gradient = true;
}

Request Bfgs::State::after_start() {
  ++scalars.njev;
  const double squared_norm = dot(gradient, gradient);
  const double f = scalars.f;
  if (std::isnan(f) || std::isnan(squared_norm)) return stop(BfgsStatus::kNan);
  if (!std::isfinite(f) || max_norm() == kInfinity) return stop(BfgsStatus::kInfiniteStart);
  scalars.previous_f = f + std::sqrt(squared_norm) / 2;  // The first step has a length of about 1.
  std::copy_n(x, n, start);
  std::copy_n(gradient, n, start_gradient);
  return begin_iterations();
}

Request Bfgs::State::begin_iterations() {
  if (stopping_norm() <= options.gtol) return stop(BfgsStatus::kGradientConverged);
  if (maxiter() <= 0) return stop(BfgsStatus::kMaxIterations);
  find_direction();
  return begin_line_search();
}

/// p = -Hg at the iterate.
void Bfgs::State::find_direction() {
  h.multiply(start_gradient, product);
  for (std::size_t i = 0; i < n; ++i) p[i] = -product[i];
}

Request Bfgs::State::begin_line_search() {
  scalars.slope = dot(start_gradient, p);
  if (!(scalars.slope < 0) || !std::isfinite(scalars.slope)) {
    if (!scalars.has_pair) return stop(BfgsStatus::kPrecisionLoss);
    // Rounding has cost H its definiteness.
    begin_again(1);
    find_direction();
    return begin_line_search();
  }
  scalars.direction_norm = std::sqrt(dot(p, p));
  scalars.largest_f = std::max(scalars.largest_f, std::abs(scalars.f));
  double first_step = std::min(1.0, 1.01 * 2 * (scalars.f - scalars.previous_f) / scalars.slope);
  if (!(first_step >= 0)) first_step = 1;
  scalars.search = WolfeLineSearch({0, scalars.f, scalars.slope}, first_step, options.c1, options.c2,
                                   GradientCheck(options.precision, scalars.largest_f));
  if (first_step == 0) return fail_line_search();  // f has not changed.
  move(first_step);
  return ask_for_trial();
}

bool Bfgs::State::move(double step) {
  bool changes = false;
  for (std::size_t i = 0; i < n; ++i) {
    const double moved = start[i] + step * p[i];
    changes |= moved != x[i];
    x[i] = moved;
  }
  return changes;
}

Request Bfgs::State::after_trial() {
  const double f = scalars.trial_f;
  if (f == -kInfinity) {
    scalars.f = f;
    return stop(BfgsStatus::kUnboundedBelow);
  }
  WolfeLineSearch& search = scalars.search;
  do {
    double slope = 0;
    if (search.needs_slope(f)) {
      if (!scalars.has_gradient) {
        scalars.phase = Phase::kTrialDerivatives;
        return Request::kDerivatives;
      }
      if (!scalars.used_gradient) ++scalars.njev;
      scalars.used_gradient = true;
      slope = dot(gradient, p);
    }
    switch (search.advance(f, slope)) {
      case WolfeLineSearch::Verdict::kFailed:
        return fail_line_search();
      case WolfeLineSearch::Verdict::kConverged:
        scalars.previous_f = scalars.f;
        scalars.f = f;
        ++scalars.nit;
        scalars.phase = Phase::kIteration;
        return Request::kIteration;
      case WolfeLineSearch::Verdict::kTryNext:
        break;
    }
    // If the step rounds to the x that was just evaluated, its values are known.
  } while (!move(search.step()));
  return ask_for_trial();
}

Request Bfgs::State::ask_for_trial() {
  scalars.phase = Phase::kTrial;
  scalars.has_gradient = scalars.used_gradient = false;
  return Request::kEvaluate;
}

/// Goes back from a trial to the iterate.
void Bfgs::State::return_to_iterate() {
  std::copy_n(start, n, x);
  std::copy_n(start_gradient, n, problem_gradient);
  take_gradient();
}

Request Bfgs::State::fail_line_search() {
  return_to_iterate();
  return stop(scalars.search.gradient_is_wrong() ? BfgsStatus::kGradientMismatch : BfgsStatus::kPrecisionLoss);
}

Request Bfgs::State::after_iteration() {
  if (stopping_norm() <= options.gtol) return stop(BfgsStatus::kGradientConverged);
  double squared_norm = 0;
  for (std::size_t i = 0; i < n; ++i) squared_norm += x[i] * x[i];
  const double step = scalars.search.step() * scalars.direction_norm;
  if (step <= options.xrtol * (options.xrtol + std::sqrt(squared_norm))) return stop(BfgsStatus::kStepConverged);
  update();
  return begin_next();
}

/// Begins again with a multiple of the identity.
void Bfgs::State::begin_again(double scale) {
  h.set_identity(scale);
  if (scalars.has_pair) ++scalars.num_resets;
  scalars.has_pair = false;
}

/// Updates H with the last step, and makes the next direction.
void Bfgs::State::update() {
  const double step = scalars.search.step();
  double* const y = start_gradient;
  for (std::size_t i = 0; i < n; ++i) {
    s[i] = step * p[i];
    y[i] = gradient[i] - y[i];
  }
  const std::optional<UpdateCoefficients> c = take_pair(y);
  std::copy_n(x, n, start);
  std::copy_n(gradient, n, start_gradient);
  if (!c || !update_direction(*c)) find_direction();
}

/// Makes u = Hy, and updates H. Nothing if the pair is left out.
std::optional<UpdateCoefficients> Bfgs::State::take_pair(const double* y) {
  double* const u = product;
  CurvaturePair pair;
  pair.n = num_variables;
  pair.sy = dot(s, y);
  const double yy = dot(y, y);
  const double ss = dot(s, s);
  const double step = scalars.search.step();
  std::optional<UpdateCoefficients> c;
  if (pair.sy > kEpsilon * std::sqrt(ss * yy)) {
    if (!h.has_digits_for(s, y, pair.sy)) {
      const double scale = pair.sy / yy;
      begin_again(scale);
      for (std::size_t i = 0; i < n; ++i) {
        u[i] = scale * y[i];
        p[i] = scale * (y[i] - gradient[i]);
      }
      pair.sBs = ss / scale;
    } else {
      h.multiply(gradient, u);
      for (std::size_t i = 0; i < n; ++i) u[i] += p[i];
      const double length = scalars.direction_norm;
      if (dot(u, u) < kCancelled * length * length) h.multiply(y, u);
      pair.sBs = -step * step * scalars.slope;
    }
    pair.yHy = dot(y, u);
    const bool scales_identity = options.initial_scale && !scalars.has_pair;
    if (h.has_digits_for(s, y, pair.sy)) c = update_coefficients(options.update, pair, scales_identity);
  }
  if (!c) {
    ++scalars.num_skipped_updates;
    return c;
  }
  h.update(*c, s, u);
  scalars.has_pair = true;
  if (h.may_be_definite()) return c;
  begin_again(1);
  return std::nullopt;
}

/// p = -H₊g from the last p = -Hg and u = Hy. False if it would lose too many digits.
bool Bfgs::State::update_direction(const UpdateCoefficients& c) {
  const double* const u = product;
  const double ug = dot(u, gradient);
  const double sg = dot(s, gradient);
  const double u_factor = c.uu * ug + c.us * sg;
  const double s_factor = c.us * ug + c.ss * sg;
  const double u_norm = std::sqrt(dot(u, u));
  const double largest = std::max(
      {c.h * (u_norm + std::sqrt(dot(p, p))), std::abs(u_factor) * u_norm, std::abs(s_factor) * std::sqrt(dot(s, s))});
  for (std::size_t i = 0; i < n; ++i) p[i] = -(c.h * (u[i] - p[i]) + u_factor * u[i] + s_factor * s[i]);
  return dot(p, p) >= kCancelled * largest * largest;
}

void Bfgs::State::check_state() const {
  check_saved_enumerators(scalars.request, scalars.status, kLastBfgsStatus, scalars.phase, Phase::kLineSearch);
  check_saved((scalars.request == Request::kStopped) != (scalars.status == BfgsStatus::kRunning),
              "its status with this request");
  check_saved(scalars.request == Request::kStopped || scalars.request == request_in(scalars.phase),
              "its phase with this request");
  check_saved(is_count(scalars.nit) && is_count(scalars.nfev) && is_count(scalars.njev) &&
                  is_count(scalars.num_skipped_updates) && is_count(scalars.num_resets),
              "a count");
  check_saved(is_bool(scalars.has_pair) && is_bool(scalars.has_gradient) && is_bool(scalars.used_gradient), "a flag");
  check_saved(scalars.search.is_valid(), "its line search");
}

template <typename Visit>
void Bfgs::State::visit_state(Visit&& visit) {
  visit_value(visit, scalars);
  visit_elements(visit, Span<double>(x, n));
  visit_elements(visit, Span<double>(problem_gradient, n));
  visit_elements(visit, vectors);
  h.visit_state(visit);
}

Bfgs::Bfgs(const Problem& problem, const BfgsOptions& options) {
  const std::size_t n = problem.x.size();
  if (n == 0) throw std::invalid_argument("x has no elements; a solver needs at least one variable.");
  if (problem.gradient.size() != n) throw std::invalid_argument("gradient and x must have the same size.");
  if (!problem.lower.empty() || !problem.upper.empty()) {
    throw std::invalid_argument("BFGS takes no bounds: use L-BFGS-B.");
  }
  if (!problem.constraints.empty()) {
    throw std::invalid_argument("BFGS takes no constraints, and was given " +
                                std::to_string(problem.constraints.size()) + ": use SLSQP.");
  }
  check(options, n);
  check_memory_for(n, 1, 0);
  state_ = std::make_unique<State>(problem, options);
}

void Bfgs::check_memory(std::size_t n, std::size_t count, double beside) {
  const double x_and_gradient = 2 * sizeof(double) * static_cast<double>(n);
  check_memory_for(n, count, x_and_gradient + beside);
}

Bfgs::~Bfgs() = default;
Bfgs::Bfgs(Bfgs&&) noexcept = default;
Bfgs& Bfgs::operator=(Bfgs&&) noexcept = default;

Request Bfgs::advance(double f, bool with_derivatives) {
  State::Scalars& scalars = state_->scalars;
  check_may_advance(scalars.request);
  if (with_derivatives || scalars.request == Request::kDerivatives) state_->take_gradient();
  switch (scalars.phase) {
    case Phase::kStart:
      ++scalars.nfev;
      scalars.f = f;
      scalars.phase = Phase::kStartDerivatives;
      scalars.request = scalars.has_gradient ? state_->after_start() : Request::kDerivatives;
      break;
    case Phase::kStartDerivatives:
      scalars.request = state_->after_start();
      break;
    case Phase::kTrial:
      ++scalars.nfev;
      scalars.trial_f = f;
      scalars.request = state_->after_trial();
      break;
    case Phase::kTrialDerivatives:
      scalars.request = state_->after_trial();
      break;
    case Phase::kLineSearch:
      break;
    case Phase::kIteration:
      scalars.request = state_->after_iteration();
      break;
  }
  return scalars.request;
}

void Bfgs::stop(StopReason reason) {
  State::Scalars& scalars = state_->scalars;
  check_may_stop(scalars.request);
  if (scalars.phase == Phase::kStart) scalars.f = std::numeric_limits<double>::quiet_NaN();
  if (scalars.phase == Phase::kTrial || scalars.phase == Phase::kTrialDerivatives) {
    state_->return_to_iterate();
    scalars.phase = Phase::kLineSearch;
  }
  scalars.request = state_->stop(reason == StopReason::kTimeLimit ? BfgsStatus::kMaxTime : BfgsStatus::kCallerStopped);
}

void Bfgs::restart(const BfgsOptions& options) {
  check(options, size());
  state_->options = options;
  state_->begin();
}

void Bfgs::restart() { state_->begin(); }

void Bfgs::resume(const BfgsOptions& options) {
  check(options, size());
  state_->options = options;
  state_->resume();
}

bool Bfgs::warm_start(const Bfgs& other) {
  check_same_size(size(), other.size());
  check_may_warm_start(request(), nfev());
  if (!other.state_->h.may_be_definite()) {
    ++state_->scalars.num_resets;
    return false;
  }
  state_->h.take(other.state_->h);
  state_->scalars.has_pair = !state_->h.is_identity();
  return true;
}

void Bfgs::copy_inverse_hessian(Span<double> dense) const { state_->h.copy(dense); }

BfgsStatus Bfgs::status() const { return state_->scalars.status; }
bool Bfgs::has_derivatives() const { return state_->scalars.has_gradient; }
Request Bfgs::request() const { return state_->scalars.request; }
double Bfgs::fun() const { return state_->scalars.f; }
double Bfgs::step_norm() const { return state_->scalars.search.step() * state_->scalars.direction_norm; }
double Bfgs::gradient_norm() const { return state_->max_norm(); }
std::int64_t Bfgs::nit() const { return state_->scalars.nit; }
std::int64_t Bfgs::nfev() const { return state_->scalars.nfev; }
std::int64_t Bfgs::njev() const { return state_->scalars.njev; }
std::size_t Bfgs::size() const { return state_->n; }
double Bfgs::maxtime() const { return state_->options.maxtime; }
std::int64_t Bfgs::num_skipped_updates() const { return state_->scalars.num_skipped_updates; }
std::int64_t Bfgs::num_resets() const { return state_->scalars.num_resets; }

std::vector<std::uint8_t> Bfgs::save() const {
  return save_snapshot(state_->shape(), [&](auto&& visit) { state_->visit_state(visit); });
}

void Bfgs::restore(Span<const std::uint8_t> saved) {
  restore_snapshot(
      saved, state_->shape(), "a BFGS", "size", [&](auto&& visit) { state_->visit_state(visit); },
      [&] { state_->check_state(); });
}

}  // namespace tfminimize::solvers
