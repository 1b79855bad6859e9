#include "solvers/bfgs/bfgs_state.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "solvers/bounds.h"
#include "solvers/gradient_check.h"

namespace tfminimize::solvers {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A vector whose square is smaller than its terms' by this has lost four digits; it is then made by a pass of its own.
constexpr double kCancelled = 1e-8;

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

}  // namespace

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

double Bfgs::State::max_norm() const { return projected_gradient_norm({x, n}, {gradient, n}, {}, {}); }

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

Request Bfgs::State::request_in(Phase phase) {
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

}  // namespace tfminimize::solvers
