#include "solvers/bfgs/bfgs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "solvers/bfgs/bfgs_state.h"
#include "solvers/memory.h"
#include "solvers/padding.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {
namespace {

/// bytes: what one solver allocates.
void check_memory_for(std::size_t n, double bytes, std::size_t count, double beside) {
  MemoryNeed need;
  need.solver = "BFGS";
  need.sizes = std::to_string(n) + " variables";
  need.bytes = bytes + beside;
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
  check_memory_for(n, State::bytes(n), 1, 0);
  state_ = std::make_unique<State>(problem, options);
}

void Bfgs::check_memory(std::size_t n, std::size_t count, double beside) {
  const double x_and_gradient = 2 * sizeof(double) * static_cast<double>(n);
  check_memory_for(n, State::bytes(n), count, x_and_gradient + beside);
}

Bfgs::~Bfgs() = default;
Bfgs::Bfgs(Bfgs&&) noexcept = default;
Bfgs& Bfgs::operator=(Bfgs&&) noexcept = default;

Request Bfgs::advance(double f, bool with_derivatives) {
  using Phase = State::Phase;
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
  using Phase = State::Phase;
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
