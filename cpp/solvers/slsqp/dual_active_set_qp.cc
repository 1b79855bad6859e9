#include "solvers/slsqp/dual_active_set_qp.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace tfminimize::solvers {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

// A violation of at most this many roundings of y⁰ may be only rounding.
constexpr double kNoise = 1000;
// If at most this part of a normal is orthogonal to the active ones (for rows of double precision), the solver tests
// whether it depends on them. It tests the original rows, in units of their rounding, since the error of the
// transformed rows grows with the condition of B.
constexpr double kNearlyDependent = 1e-6;
constexpr double kDependent = 1e-14 / kEpsilon;
// Dependent constraints contradict each other if their relative difference exceeds this,
constexpr double kContradiction = 1e-10;
// and this many roundings of their rows, if these are less precise,
constexpr double kRowNoise = 16;
// and what a step of this length mends: constraint values near zero are differences and have an error of their own.
constexpr double kMinDistance = 1e-12;
// A constraint gives way by a little more than it must, or rounding could make it do so again.
constexpr double kMargin = 1e-3;

}  // namespace

DualActiveSetQp::DualActiveSetQp(std::size_t n, std::size_t m)
    : n_(n),
      m_(m),
      kernels_(dense_kernels()),
      rows_(n, m),
      guess_(n, m),
      factors_(padded(n + 1), n + 1),
      alpha_(n + 2),
      y_(zeros(padded(n + 1))),
      s_(zeros(padded(n + 1))),
      v_(zeros(padded(n + 1))),
      z_(zeros(padded(n + 1))),
      d_(n + 1),
      rest_(zeros(padded(n + 1))),
      target_(n + 1),
      multipliers_(rows_.end()),
      leeway_(m),
      constraints_(m) {
  lambda_.reserve(n + 1);
  active_.reserve(n + 1);
  for (std::vector<Row>* rows : {&candidates_, &inequalities_, &rejected_}) rows->reserve(rows_.end());
}

double DualActiveSetQp::norm(const AlignedArray<double>& vector) const {
  return std::sqrt(kernels_.dot(vector.size(), vector.data(), vector.data()));
}

/// Whether the violation may be only the rounding of y⁰, since s is a small part of it.
bool DualActiveSetQp::is_noise(Row row) const {
  return -rows_.slack(row) <= kNoise * kEpsilon * rows_.length(row) * (unconstrained_length_ + rows_.s_length());
}

void DualActiveSetQp::begin(const LdltFactors& b, const QuadraticProgram& program) {
  b_ = &b;
  rows_.set_program(program);
  rows_.list_inequalities(candidates_);
  if (candidates_ != inequalities_) {
    guess_.forget();
    inequalities_ = candidates_;
  }
  clear();
  std::fill(leeway_.begin(), leeway_.end(), 0.0);
  total_leeway_ = 0;
  guessed_ = false;
}

/// No constraint is active.
void DualActiveSetQp::clear() {
  factors_.clear();
  active_.clear();
  lambda_.clear();
  rejected_.clear();
  num_active_ = 0;
  pivots_ = 0;
}

QpStatus DualActiveSetQp::solve_from_scratch() {
  std::fill_n(y_.data(), y_.size(), 0.0);
  for (std::size_t i = 0; i < n_; ++i) y_[i] = -rows_.program().gradient[i];
  b_->to_factor_space(y_.data());
  start_length_ = norm(y_);
  find_solution();
  unconstrained_length_ = rows_.s_length();
  const std::size_t num_variables = rows_.program().num_variables;
  QpStatus status = add_equalities();
  if (num_variables > 0 && active_.size() == num_variables) candidates_.clear();
  if (status == QpStatus::kSolved && !active_.empty()) find_solution();
  while (status == QpStatus::kSolved) {
    const std::size_t position = most_violated();
    if (position == kNone) {
      refine();
      break;
    }
    if (!refined_ && is_noise(candidates_[position])) {
      refine();
      continue;
    }
    status = add_inequality(position);
    if (status == QpStatus::kSolved) find_solution();
  }
  return status;
}

/// s from y.
void DualActiveSetQp::find_solution() {
  std::copy_n(y_.data(), y_.size(), s_.data());
  b_->from_factor_space(s_.data());
  refined_ = active_.empty();
  rows_.evaluate(s_.data());
}

void DualActiveSetQp::append(Row row, double norm, double alpha, double multiplier) {
  factors_.append(d_.data(), z_.data(), norm);
  active_.push_back(row);
  alpha_[active_.size() - 1] = alpha;
  lambda_.push_back(multiplier);
  kernels_.add(y_.size(), alpha, factors_.q(factors_.size() - 1), y_.data());
  ++pivots_;
}

void DualActiveSetQp::remove(std::size_t index) {
  factors_.remove(index, alpha_.data());
  kernels_.add(y_.size(), -alpha_[factors_.size()], factors_.q(factors_.size()), y_.data());
  // The candidate becomes the first of the inactive ones.
  const auto position = std::find(candidates_.begin(), candidates_.end(), active_[index]);
  std::rotate(position, position + 1, candidates_.begin() + static_cast<std::ptrdiff_t>(num_active_));
  --num_active_;
  active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(index));
  lambda_.erase(lambda_.begin() + static_cast<std::ptrdiff_t>(index));
  ++pivots_;
}

/// Whether the row is the combination of the active ones with these coefficients.
bool DualActiveSetQp::depends(Row row, const double* coefficients) const {
  rows_.write_normal(row, rest_.data());
  double scale = rows_.length(row);
  for (std::size_t k = 0; k < active_.size(); ++k) {
    rows_.add_normal(active_[k], -coefficients[k], rest_.data());
    scale += std::abs(coefficients[k]) * rows_.length(active_[k]);
  }
  return norm(rest_) <= kDependent * rows_.program().precision * static_cast<double>(active_.size() + 1) * scale;
}

/// Dependent constraints contradict each other if their relative difference exceeds this.
double DualActiveSetQp::contradiction_tolerance() const {
  return std::max(kContradiction, kRowNoise * rows_.program().precision);
}

/// A normal may depend on the active ones if at most this part of it is orthogonal to them.
double DualActiveSetQp::dependence_tolerance() const {
  return kNearlyDependent * std::sqrt(rows_.program().precision / kEpsilon);
}

QpStatus DualActiveSetQp::add_equalities() {
  for (Row row = 0; rows_.is_equality(row); ++row) {
    rows_.write_normal(row, v_.data());
    b_->to_factor_space(v_.data());
    const double rest = factors_.project(v_.data(), d_.data(), z_.data());
    const double length = norm(v_);
    const double missing = rows_.bound(row) - kernels_.dot(v_.size(), v_.data(), y_.data());
    if (rest <= dependence_tolerance() * length) {
      std::copy_n(d_.data(), active_.size(), target_.data());
      factors_.r().solve(target_.data());
      if (rest == 0 || active_.size() == b_->order() || depends(row, target_.data())) {
        const double scale = std::abs(rows_.bound(row)) + length * (start_length_ + norm(y_));
        const double small = contradiction_tolerance() * scale + kMinDistance * rows_.length(row);
        if (std::abs(missing) > small) {
          contradicting_ = row;
          contradiction_size_ = missing;
          return QpStatus::kSingularEqualities;
        }
        continue;  // It follows from the others.
      }
    }
    append(row, rest, missing / rest, 0);
  }
  std::copy_n(alpha_.data(), active_.size(), lambda_.data());
  factors_.r().solve(lambda_.data());
  return QpStatus::kSolved;
}

/// The position in candidates_ of the constraint to enter next, or kNone.
std::size_t DualActiveSetQp::most_violated() const {
  std::size_t found = kNone;
  double greatest = 0;
  for (std::size_t position = num_active_; position < candidates_.size(); ++position) {
    const Row row = candidates_[position];
    const double violation = -rows_.slack(row);
    if (violation > greatest && rows_.is_violated(row) &&
        std::find(rejected_.begin(), rejected_.end(), row) == rejected_.end()) {
      greatest = violation;
      found = position;
    }
  }
  return found;
}

/// Whether a violated constraint follows from the active ones, up to rounding.
bool DualActiveSetQp::is_consistent(Row row, const DualStep& step) const {
  if (!step.dependent) return step.alpha <= 0;
  return -rows_.slack(row) <= contradiction_tolerance() * rows_.scale(row) + kMinDistance * rows_.length(row);
}

/// How λ changes while the multiplier of the entering constraint grows: towards target_, where the constraint is
/// active; or along the ray -target_, if the constraint depends on the active ones.
DualActiveSetQp::DualStep DualActiveSetQp::find_dual_step(Row entering, double multiplier) {
  DualStep step;
  const std::size_t size = active_.size();
  step.rest = factors_.project(v_.data(), d_.data(), z_.data());
  std::copy_n(d_.data(), size, target_.data());
  step.dependent = size == b_->order();
  if (!step.dependent && step.rest <= dependence_tolerance() * norm(v_)) {
    factors_.r().solve(target_.data());
    step.dependent = step.rest == 0 || depends(entering, target_.data());
    std::copy_n(d_.data(), size, target_.data());
  }
  if (!step.dependent) {
    const double missing = rows_.bound(entering) - kernels_.dot(v_.size(), v_.data(), y_.data());
    // The multiplier only grows. If it does not by rounding, the constraint is satisfied already.
    step.multiplier = std::max(missing / step.rest / step.rest, multiplier);
    step.alpha = step.multiplier * step.rest;
    for (std::size_t k = 0; k < size; ++k) target_[k] = alpha_[k] - d_[k] * step.multiplier;
  }
  factors_.r().solve(target_.data());
  return step;
}

/// Finds the active inequality whose multiplier becomes zero first on the way, and the length to there.
void DualActiveSetQp::find_blocking(DualStep& step) const {
  step.length = step.dependent ? std::numeric_limits<double>::infinity() : 1;
  for (std::size_t k = active_.size() - num_active_; k < active_.size(); ++k) {
    const double change = step.dependent ? target_[k] : lambda_[k] - target_[k];
    if (!(step.dependent ? change > 0 : target_[k] <= 0)) continue;
    const double ratio = lambda_[k] / change;
    if (ratio < step.length) {
      step.length = ratio;
      step.blocking = k;
    }
  }
}

QpStatus DualActiveSetQp::add_inequality(std::size_t position) {
  const Row entering = candidates_[position];
  std::swap(candidates_[position], candidates_[num_active_]);
  rows_.write_normal(entering, v_.data());
  b_->to_factor_space(v_.data(), 1, rows_.first_nonzero(entering));
  double multiplier = 0;
  while (pivots_ <= max_pivots()) {
    DualStep step = find_dual_step(entering, multiplier);
    if (multiplier == 0 && is_consistent(entering, step)) {
      rejected_.push_back(entering);  // Only rounding violates it: it may enter after another has.
      return QpStatus::kSolved;
    }
    find_blocking(step);
    const std::size_t size = active_.size();
    if (step.blocking == kNone) {
      if (step.dependent) {
        contradicting_ = entering;
        contradiction_size_ = rows_.bound(entering) - kernels_.dot(v_.size(), v_.data(), y_.data());
        return QpStatus::kInfeasible;
      }
      lambda_.assign(target_.begin(), target_.begin() + static_cast<std::ptrdiff_t>(size));
      rejected_.clear();
      ++num_active_;
      append(entering, step.rest, step.alpha, step.multiplier);
      return QpStatus::kSolved;
    }
    for (std::size_t k = 0; k < size; ++k) {
      lambda_[k] -= step.length * (step.dependent ? target_[k] : lambda_[k] - target_[k]);
      if (k >= size - num_active_) lambda_[k] = std::max(lambda_[k], 0.0);
    }
    multiplier += step.length * (step.dependent ? 1 : step.multiplier - multiplier);
    // The entering constraint stays right behind the active ones.
    remove(step.blocking);
    std::swap(candidates_[num_active_], candidates_[num_active_ + 1]);
  }
  return QpStatus::kPivotLimit;
}

/// Moves s onto the active constraints. If the gradient is large, s is the small difference of the large vectors y⁰ and
/// Q·α, and their rounding takes it off the constraints.
void DualActiveSetQp::refine() {
  if (refined_) return;
  for (std::size_t k = 0; k < active_.size(); ++k) target_[k] = -rows_.slack(active_[k]);
  factors_.r().solve_transposed(target_.data());
  std::fill_n(z_.data(), z_.size(), 0.0);
  factors_.add_combination(target_.data(), z_.data());
  b_->from_factor_space(z_.data());
  kernels_.add(s_.size(), 1, z_.data(), s_.data());
  refined_ = true;
  rows_.evaluate(s_.data());
}

/// If constraints contradict each other by less than the tolerance, lets the one give way that loses least. False if
/// they contradict each other by more.
bool DualActiveSetQp::give_way() {
  std::size_t row = kNone;
  double change = 0;
  const auto consider = [&](Row candidate, double needed) {
    if (rows_.is_bound(candidate) || (row != kNone && std::abs(needed) >= std::abs(change))) return;
    row = candidate;
    change = needed;
  };
  consider(contradicting_, contradiction_size_);
  for (std::size_t k = 0; k < active_.size(); ++k) {
    if (target_[k] != 0) consider(active_[k], -contradiction_size_ / target_[k]);
  }
  if (row == kNone) return false;
  change *= 1 + kMargin;
  total_leeway_ += std::abs(change);
  if (!(total_leeway_ < rows_.program().tolerance)) return false;
  if (rows_.program().constraints.data() != constraints_.data()) {
    std::copy_n(rows_.program().constraints.data(), m_, constraints_.data());
    rows_.set_constraints(constraints_);
  }
  leeway_[row] += change;
  constraints_[row] += change;
  return true;
}

void DualActiveSetQp::finish() {
  std::fill(multipliers_.begin(), multipliers_.end(), 0.0);
  for (std::size_t k = 0; k < active_.size(); ++k) multipliers_[active_[k]] = lambda_[k];
  const QuadraticProgram& program = rows_.program();
  for (std::size_t i = 0; i < program.lower.size(); ++i) {
    s_[i] = std::min(std::max(s_[i], program.lower[i]), program.upper[i]);
  }
}

void DualActiveSetQp::prepare_update(const LdltFactors& b, const QuadraticProgram& program, double sigma,
                                     const double* z) {
  rows_.set_program(program);
  guess_.prepare_update(b, rows_, sigma, z);
}

void DualActiveSetQp::check_state(const QuadraticProgram& program) const {
  const auto exists = [&](Row row) {
    const bool is_bound =
        (row >= rows_.lower(0) && row < rows_.lower(n_)) || (row >= rows_.upper(0) && row < rows_.upper(n_));
    return row < m_ || (is_bound && !program.lower.empty());
  };
  const auto not_in_order = std::adjacent_find(inequalities_.begin(), inequalities_.end(), std::greater_equal<>());
  check_saved(not_in_order == inequalities_.end() && (inequalities_.empty() || inequalities_.back() < rows_.end()),
              "an inequality");
  std::vector<Row> active = guess_.active();
  std::sort(active.begin(), active.end());
  check_saved(std::adjacent_find(active.begin(), active.end()) == active.end(), "an active constraint");
  for (const Row row : active) {
    const bool is_known =
        row < program.num_equalities || std::binary_search(inequalities_.begin(), inequalities_.end(), row);
    check_saved(exists(row) && is_known, "an active constraint");
  }
}

QpStatus DualActiveSetQp::solve(const LdltFactors& b, const QuadraticProgram& program) {
  begin(b, program);
  // The active set of a relaxed program, or an incomplete one, would mislead the next program.
  const bool usual = program.relaxation.empty();
  if (usual && !guess_.empty() && guess_.solve(b, rows_, candidates_, s_.data(), factors_)) {
    guessed_ = true;
    active_ = guess_.active();
    lambda_ = guess_.lambda();
    finish();
    return QpStatus::kSolved;
  }
  guess_.forget();
  QpStatus status = solve_from_scratch();
  for (std::size_t tries = 0; tries < 2 * m_ && contradicts(status) && give_way(); ++tries) {
    clear();
    rows_.list_inequalities(candidates_);
    status = solve_from_scratch();
  }
  if (status != QpStatus::kSolved) return status;
  const bool complete = total_leeway_ == 0 && active_.size() == num_active_ + program.num_equalities &&
                        candidates_.size() == inequalities_.size();
  if (usual && complete) guess_.learn(rows_, active_, lambda_, factors_.r());
  finish();
  return status;
}

}  // namespace tfminimize::solvers
