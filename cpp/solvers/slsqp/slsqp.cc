#include "solvers/slsqp/slsqp.h"

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>
#include <string>

#include "solvers/bounds.h"
#include "solvers/memory.h"
#include "solvers/slsqp/slsqp_state.h"
#include "solvers/slsqp/upper_triangle.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {
namespace {

constexpr std::uint64_t kSnapshotKind = 0x534C535150000004;  // "SLSQP" and the version of the format.

void check(const Problem& problem, const SlsqpOptions& options) {
  const std::size_t n = problem.x.size();
  const std::size_t m = problem.constraints.size();
  if (n == 0) throw std::invalid_argument("x must have at least one element.");
  if (problem.gradient.size() != n) throw std::invalid_argument("gradient must have the size of x.");
  if (problem.jacobian.size() != m * Problem::stride(n)) {
    throw std::invalid_argument("jacobian must have a row of stride elements for each constraint.");
  }
  if (problem.num_equalities > m) {
    throw std::invalid_argument("num_equalities must be at most the size of constraints.");
  }
  if (problem.num_variables > n) throw std::invalid_argument("num_variables must be at most the size of x.");
  if (!problem.offsets.empty() && problem.offsets.size() != m) {
    throw std::invalid_argument("offsets must be empty or have the size of constraints.");
  }
  check_bounds(n, problem.lower, problem.upper);
  if (!(options.precision > 0 && options.precision < 1)) {
    throw std::invalid_argument("precision must be between 0 and 1.");
  }
  if (options.maxiter < 0) throw std::invalid_argument("maxiter must be at least 0.");
}

}  // namespace

SnapshotShape Slsqp::State::shape() const {
  const std::uint64_t given = (problem.lower.empty() ? 0U : 1U) + (problem.offsets.empty() ? 0U : 2U);
  return {kSnapshotKind, n, m, problem.num_equalities, problem.num_variables, given};
}

void Slsqp::State::check_state() const {
  check_saved_enumerators(s.request, s.status, kLastSlsqpStatus, s.phase, Phase::kEnd);
  const bool may_have_ended = s.request == Request::kStopped || s.request == Request::kIteration;
  check_saved(s.request == Request::kStopped ? s.status != SlsqpStatus::kRunning
                                             : may_have_ended || s.status == SlsqpStatus::kRunning,
              "its status with this request");
  // The request of each phase.
  constexpr std::array<Request, 12> kRequests{Request::kEvaluate,    Request::kEvaluate,    Request::kDerivatives,
                                              Request::kIteration,   Request::kDerivatives, Request::kIteration,
                                              Request::kDerivatives, Request::kStopped,     Request::kStopped,
                                              Request::kStopped,     Request::kStopped,     Request::kStopped};
  const Request request = kRequests[static_cast<std::size_t>(s.phase)];
  const bool has_stopped = s.request == Request::kStopped && request == Request::kIteration;
  check_saved(s.request == request || has_stopped, "its phase with this request");
  const auto is_within_limit = [](int count, int limit) { return count >= 0 && count <= limit; };
  check_saved(is_count(s.nit) && is_count(s.nfev) && is_count(s.njev), "a count");
  check_saved(s.resets >= 1 && s.resets <= kMaxResets + 1 && is_within_limit(s.trials, kMaxTrials), "a count");
  check_saved(s.phase != Phase::kInSearch || s.trials >= 1, "a count");
  check_saved(is_within_limit(s.reversed_f, kMaxTrials) && is_within_limit(s.reversed_violation, kMaxTrials) &&
                  is_within_limit(s.short_searches, kMaxShortSearches),
              "a count");
  check_saved(is_bool(s.has_derivatives) && is_bool(s.met_non_finite) && is_bool(s.met_wall) &&
                  is_bool(s.is_model_doubtful) && is_bool(s.fell_as_predicted) && is_bool(s.follows_pole) &&
                  is_bool(s.changes_little),
              "a flag");
  check_saved(is_within(problem.x, problem.lower, problem.upper), "an x outside of its bounds");
}

Slsqp::Slsqp(const Problem& problem, const SlsqpOptions& options) {
  check(problem, options);
  check_memory(problem.x.size(), problem.constraints.size());
  state_ = std::make_unique<State>(problem, options);
}

void Slsqp::check_memory(std::size_t n, std::size_t m, std::size_t count) {
  const auto size = static_cast<double>(n);
  MemoryNeed need;
  need.solver = "SLSQP";
  need.sizes = std::to_string(n) + " variables and " + std::to_string(m) + " constraints";
  // The factors of B, the first columns of Q, and a dozen vectors. For each constraint, a padded row of the Jacobian
  // and 16 numbers.
  need.bytes =
      sizeof(double) * (size * (size + static_cast<double>(kFewColumns + 12)) + static_cast<double>(m) * (size + 24));
  need.count = count;
  solvers::check_memory(need, [count](double /*bytes*/) {
    return std::string(count == 1 ? "" : "give a smaller num_threads, ") +
           "use L-BFGS-B if there are no constraints but bounds, or give fewer variables; the memory grows with their "
           "square.";
  });
}

Slsqp::~Slsqp() = default;
Slsqp::Slsqp(Slsqp&&) noexcept = default;
Slsqp& Slsqp::operator=(Slsqp&&) noexcept = default;

Request Slsqp::advance(double f, bool with_derivatives) {
  State::Scalars& s = state_->s;
  check_may_advance(s.request);
  switch (s.phase) {
    case State::Phase::kStart:
      s.request = state_->after_start(f, with_derivatives);
      break;
    case State::Phase::kTrial:
      s.request = state_->after_trial(f, with_derivatives);
      break;
    case State::Phase::kTrialDerivatives:
      s.request = state_->after_trial_derivatives();
      break;
    case State::Phase::kIteration:
      s.request = state_->after_iteration();
      break;
    case State::Phase::kStartDerivatives:
      s.request = state_->after_start_derivatives();
      break;
    case State::Phase::kStationary:
      s.request = state_->stop(s.status, s.phase);
      break;
    case State::Phase::kIterationDerivatives:
      s.request = state_->after_iteration_derivatives();
      break;
    case State::Phase::kLimit:
    case State::Phase::kNoDescent:
    case State::Phase::kInterrupted:
    case State::Phase::kInSearch:
    case State::Phase::kEnd:
      break;
  }
  return s.request;
}

void Slsqp::stop(StopReason reason) {
  State::Scalars& s = state_->s;
  check_may_stop(s.request);
  const SlsqpStatus status = reason == StopReason::kTimeLimit ? SlsqpStatus::kMaxTime : SlsqpStatus::kCallerStopped;
  s.request = state_->stop(status, state_->interrupt());
}

void Slsqp::restart(const SlsqpOptions& options) {
  check(state_->problem, options);
  state_->subproblem.restart();
  state_->begin(options);
}

void Slsqp::restart() { restart(state_->options); }

void Slsqp::resume(const SlsqpOptions& options) {
  check(state_->problem, options);
  state_->set_options(options);
  state_->resume();
}

bool Slsqp::warm_start(const Slsqp& other) {
  check_same_size(size(), other.size());
  check_may_warm_start(request(), nfev());
  return state_->warm_start(*other.state_);
}

Request Slsqp::request() const { return state_->s.request; }
SlsqpStatus Slsqp::status() const {
  return state_->s.request == Request::kStopped ? state_->s.status : SlsqpStatus::kRunning;
}
bool Slsqp::expects_derivatives() const {
  const State::Scalars& s = state_->s;
  return s.request == Request::kEvaluate && (s.phase == State::Phase::kStart || s.trials == 1);
}
bool Slsqp::has_derivatives() const { return state_->s.has_derivatives; }
double Slsqp::fun() const { return state_->s.f; }
double Slsqp::constr_violation() const { return state_->s.violation; }
double Slsqp::step_norm() const {
  return state_->s.phase == State::Phase::kStationary ? 0 : state_->step_length();  // that step is not taken
}
double Slsqp::gradient_norm() const { return state_->lagrangian_gradient_norm(); }
std::int64_t Slsqp::nit() const { return state_->s.nit; }
std::int64_t Slsqp::nfev() const { return state_->s.nfev; }
std::int64_t Slsqp::njev() const { return state_->s.njev; }
std::size_t Slsqp::size() const { return state_->n; }
double Slsqp::maxtime() const { return state_->options.maxtime; }
Span<const double> Slsqp::multipliers() const { return state_->subproblem.multipliers(); }

std::vector<std::uint8_t> Slsqp::save() const {
  return save_snapshot(state_->shape(), [&](auto&& visit) { state_->visit_state(visit); });
}

void Slsqp::restore(Span<const std::uint8_t> saved) {
  restore_snapshot(
      saved, state_->shape(), "an SLSQP", "number of variables or constraints, or kind of bounds or constraints",
      [&](auto&& visit) { state_->visit_state(visit); }, [&] { state_->check_state(); });
}

}  // namespace tfminimize::solvers
