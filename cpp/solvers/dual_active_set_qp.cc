#include "solvers/dual_active_set_qp.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tfminimize {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr std::size_t kNone = static_cast<std::size_t>(-1);

// A violation this small, in units of the rounding of its terms, is none.
constexpr double kRounding = 100;
constexpr double kNoise = 1000;
// A normal is looked at closely where this little of it is orthogonal to the active ones; whether it depends on them is
// then decided by the original rows, since the transformed ones have an error that grows with the condition of B.
constexpr double kNearlyDependent = 1e-6;
constexpr double kDependent = 1e-14;
// Dependent constraints that differ by more than this, relatively, contradict each other.
constexpr double kContradiction = 1e-10;
// ... or by more than what this step mends: constraint values near zero are differences, with an error of their own.
constexpr double kSmallestDistance = 1e-12;

}  // namespace

DualActiveSetQp::DualActiveSetQp(std::size_t n, std::size_t m)
    : n_(n),
      m_(m),
      kernels_(dense_kernels()),
      factors_(padded(n + 1), n + 1),
      alpha_(n + 2),
      y_(zeros(padded(n + 1))),
      s_(zeros(padded(n + 1))),
      v_(zeros(padded(n + 1))),
      z_(zeros(padded(n + 1))),
      d_(n + 1),
      target_(n + 1),
      products_(m),
      multipliers_(m + 2 * (n + 1)) {
  lambda_.reserve(n + 1);
  active_.reserve(n + 1);
  candidates_.reserve(m + 2 * (n + 1));
}

double DualActiveSetQp::bound(std::size_t row) const {
  if (row < m_) return -program_.constraints[row];
  const bool is_lower = row < upper_row(0);
  const std::size_t variable = row - (is_lower ? lower_row(0) : upper_row(0));
  if (variable == n_) return is_lower ? 0 : -1;
  return is_lower ? program_.lower[variable] : -program_.upper[variable];
}

double DualActiveSetQp::slack(std::size_t row) const {
  if (row < m_) return products_[row] - bound(row);
  return (row < upper_row(0) ? s_[row - lower_row(0)] : -s_[row - upper_row(0)]) - bound(row);
}

double DualActiveSetQp::norm(const AlignedArray<double>& vector) const {
  return std::sqrt(kernels_.dot(vector.size(), vector.data(), vector.data()));
}

double DualActiveSetQp::normal_length(std::size_t row) const {
  if (row >= m_) return 1;
  const std::size_t stride = padded(n_);
  const double* normal = program_.jacobian.data() + row * stride;
  const double extra = program_.relaxation.empty() ? 0 : program_.relaxation[row];
  return std::sqrt(kernels_.dot(stride, normal, normal) + extra * extra);
}

bool DualActiveSetQp::is_violated(std::size_t row) const {
  const double violation = -slack(row);
  if (!(violation > 0)) return false;
  return violation > kRounding * kEpsilon * (std::abs(bound(row)) + normal_length(row) * s_length_);
}

/// Whether the violation may be but the rounding of y⁰, of which s is a small part.
bool DualActiveSetQp::is_noise(std::size_t row) const {
  return -slack(row) <= kNoise * kEpsilon * normal_length(row) * (unconstrained_length_ + s_length_);
}

void DualActiveSetQp::begin(const LdltFactors& b, const QuadraticProgram& program) {
  b_ = &b;
  program_ = program;
  order_ = b.order();
  factors_.clear();
  active_.clear();
  lambda_.clear();
  rejected_.clear();
  pivots_ = 0;
  num_active_ = 0;
  list_inequalities();
  std::fill_n(y_.data(), y_.size(), 0.0);
  for (std::size_t i = 0; i < n_; ++i) y_[i] = -program.gradient[i];
  b.to_factor_space(y_.data());
  start_length_ = norm(y_);
}

void DualActiveSetQp::list_inequalities() {
  candidates_.clear();
  for (std::size_t i = program_.num_equalities; i < m_; ++i) candidates_.push_back(static_cast<Row>(i));
  for (const bool is_lower : {true, false}) {
    const Span<const double> bounds = is_lower ? program_.lower : program_.upper;
    const std::size_t first = is_lower ? lower_row(0) : upper_row(0);
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      if (std::isfinite(bounds[i])) candidates_.push_back(static_cast<Row>(first + i));
    }
    if (order_ > n_) candidates_.push_back(static_cast<Row>(first + n_));
  }
}

void DualActiveSetQp::write_normal(std::size_t row, double* v) const {
  const std::size_t stride = b_->stride();
  std::fill_n(v, stride, 0.0);
  if (row < m_) {
    std::copy_n(program_.jacobian.data() + row * padded(n_), n_, v);
    if (!program_.relaxation.empty()) v[n_] = program_.relaxation[row];
  } else if (row < upper_row(0)) {
    v[row - lower_row(0)] = 1;
  } else {
    v[row - upper_row(0)] = -1;
  }
}

std::size_t DualActiveSetQp::first_nonzero(std::size_t row) const {
  if (row < m_) return 0;
  return (row - (row < upper_row(0) ? lower_row(0) : upper_row(0))) / 8 * 8;
}

/// s from y.
void DualActiveSetQp::find_solution() {
  std::copy_n(y_.data(), y_.size(), s_.data());
  b_->from_factor_space(s_.data());
  refined_ = active_.empty();
  multiply_rows();
}

/// J·s
void DualActiveSetQp::multiply_rows() {
  s_length_ = norm(s_);
  if (m_ == 0) return;
  const double extra = s_[n_];
  s_[n_] = 0;  // A row of J may end before it.
  kernels_.multiply(m_, padded(n_), program_.jacobian.data(), padded(n_), s_.data(), products_.data());
  s_[n_] = extra;
  for (std::size_t i = 0; i < program_.relaxation.size(); ++i) products_[i] += program_.relaxation[i] * extra;
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
  // It becomes the first of the inactive ones.
  const auto position = std::find(candidates_.begin(), candidates_.end(), active_[index]);
  std::rotate(position, position + 1, candidates_.begin() + static_cast<std::ptrdiff_t>(num_active_));
  --num_active_;
  active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(index));
  lambda_.erase(lambda_.begin() + static_cast<std::ptrdiff_t>(index));
  ++pivots_;
}

/// Whether the row is the sum of the active ones with these coefficients.
bool DualActiveSetQp::depends(std::size_t row, const double* coefficients) const {
  std::vector<double> rest(b_->stride());
  std::vector<double> normal(b_->stride());
  write_normal(row, rest.data());
  double scale = normal_length(row);
  for (std::size_t k = 0; k < active_.size(); ++k) {
    write_normal(active_[k], normal.data());
    for (std::size_t i = 0; i < order_; ++i) rest[i] -= coefficients[k] * normal[i];
    scale += std::abs(coefficients[k]) * normal_length(active_[k]);
  }
  double squares = 0;
  for (const double value : rest) squares += value * value;
  return std::sqrt(squares) <= kDependent * static_cast<double>(active_.size() + 1) * scale;
}

QpStatus DualActiveSetQp::add_equalities() {
  for (std::size_t row = 0; row < program_.num_equalities; ++row) {
    write_normal(row, v_.data());
    b_->to_factor_space(v_.data());
    const double rest = factors_.project(v_.data(), d_.data(), z_.data());
    const double length = norm(v_);
    const double missing = bound(row) - kernels_.dot(v_.size(), v_.data(), y_.data());
    if (rest <= kNearlyDependent * length) {
      std::copy_n(d_.data(), active_.size(), target_.data());
      factors_.solve(target_.data());
      if (rest == 0 || active_.size() == order_ || depends(row, target_.data())) {
        const double scale = std::abs(bound(row)) + length * (start_length_ + norm(y_));
        if (std::abs(missing) <= kContradiction * scale + kSmallestDistance * normal_length(row))
          continue;  // It says what the others say.
        return QpStatus::kSingularEqualities;
      }
    }
    append(static_cast<Row>(row), rest, missing / rest, 0);
  }
  std::copy_n(alpha_.data(), active_.size(), lambda_.data());
  factors_.solve(lambda_.data());
  return QpStatus::kSolved;
}

/// The position in candidates_ of the constraint that enters next, or kNone.
std::size_t DualActiveSetQp::most_violated() const {
  std::size_t found = kNone;
  double greatest = 0;
  for (std::size_t position = num_active_; position < candidates_.size(); ++position) {
    const Row row = candidates_[position];
    const double violation = -slack(row);
    if (violation > greatest && is_violated(row) &&
        std::find(rejected_.begin(), rejected_.end(), row) == rejected_.end()) {
      greatest = violation;
      found = position;
    }
  }
  return found;
}

/// The constraint does not enter, as only rounding violates it; until another has.
QpStatus DualActiveSetQp::reject(Row entering) {
  rejected_.push_back(entering);
  return QpStatus::kSolved;
}

QpStatus DualActiveSetQp::add_inequality(std::size_t position) {
  const Row entering = candidates_[position];
  std::swap(candidates_[position], candidates_[num_active_]);
  write_normal(entering, v_.data());
  b_->to_factor_space(v_.data(), 1, first_nonzero(entering));
  const double length = norm(v_);
  const std::size_t num_equalities = active_.size() - num_active_;
  double multiplier = 0;
  while (true) {
    const double rest = factors_.project(v_.data(), d_.data(), z_.data());
    const std::size_t size = active_.size();
    bool dependent = size == order_;
    if (!dependent && rest <= kNearlyDependent * length) {
      std::copy_n(d_.data(), size, target_.data());
      factors_.solve(target_.data());
      dependent = rest == 0 || depends(entering, target_.data());
    }
    if (dependent && multiplier == 0) {
      const double scale = std::abs(bound(entering)) + normal_length(entering) * s_length_;
      if (-slack(entering) <= kContradiction * scale + kSmallestDistance * normal_length(entering)) {
        return reject(entering);
      }
    }
    // λ moves towards `target`, where the constraint is active; if it depends on the active ones, along a ray.
    double missing = 0;
    double alpha = 0;
    double step = std::numeric_limits<double>::infinity();
    if (dependent) {
      std::copy_n(d_.data(), size, target_.data());
    } else {
      missing = bound(entering) - kernels_.dot(v_.size(), v_.data(), y_.data());
      if (missing <= 0 && multiplier == 0) return reject(entering);
      alpha = missing / rest;
      for (std::size_t k = 0; k < size; ++k) target_[k] = alpha_[k] - d_[k] * (alpha / rest);
      step = 1;
    }
    factors_.solve(target_.data());
    std::size_t blocking = kNone;
    for (std::size_t k = num_equalities; k < size; ++k) {
      const double change = dependent ? target_[k] : lambda_[k] - target_[k];
      if (!(dependent ? change > 0 : target_[k] <= 0)) continue;
      const double ratio = lambda_[k] / change;
      if (ratio < step) {
        step = ratio;
        blocking = k;
      }
    }
    if (blocking == kNone && dependent) return QpStatus::kInfeasible;
    if (blocking == kNone) {
      rejected_.clear();
      lambda_ = std::vector<double>(target_.begin(), target_.begin() + static_cast<std::ptrdiff_t>(size));
      ++num_active_;
      append(entering, rest, alpha, alpha / rest);
      return QpStatus::kSolved;
    }
    for (std::size_t k = 0; k < size; ++k) {
      lambda_[k] -= step * (dependent ? target_[k] : lambda_[k] - target_[k]);
      if (k >= num_equalities) lambda_[k] = std::max(lambda_[k], 0.0);
    }
    multiplier += step * (dependent ? 1 : alpha / rest - multiplier);
    // The entering constraint stands behind the active ones, and stays there.
    remove(blocking);
    std::swap(candidates_[num_active_], candidates_[num_active_ + 1]);
    if (pivots_ > 3 * (candidates_.size() + order_) + 100) return QpStatus::kPivotLimit;
  }
}

/// Moves s onto the active constraints. It is the small difference of large vectors, y⁰ and Q·α, where the gradient is
/// large, and misses them by their rounding.
void DualActiveSetQp::refine() {
  if (refined_) return;
  for (std::size_t k = 0; k < active_.size(); ++k) target_[k] = -slack(active_[k]);
  factors_.solve_transposed(target_.data());
  std::fill_n(z_.data(), z_.size(), 0.0);
  factors_.add_combination(target_.data(), z_.data());
  b_->from_factor_space(z_.data());
  kernels_.add(s_.size(), 1, z_.data(), s_.data());
  refined_ = true;
  multiply_rows();
}

void DualActiveSetQp::store_multipliers() {
  std::fill(multipliers_.begin(), multipliers_.end(), 0.0);
  for (std::size_t k = 0; k < active_.size(); ++k) multipliers_[active_[k]] = lambda_[k];
}

QpStatus DualActiveSetQp::solve(const LdltFactors& b, const QuadraticProgram& program) {
  begin(b, program);
  find_solution();
  unconstrained_length_ = s_length_;
  QpStatus status = add_equalities();
  if (program.num_variables > 0 && active_.size() == program.num_variables) candidates_.clear();
  if (status == QpStatus::kSolved && !active_.empty()) find_solution();
  while (status == QpStatus::kSolved) {
    const std::size_t position = most_violated();
    if (position == kNone) break;
    if (!refined_ && is_noise(candidates_[position])) {
      refine();
      continue;
    }
    status = add_inequality(position);
    if (pivots_ > 3 * (candidates_.size() + order_) + 100) status = QpStatus::kPivotLimit;
    if (status == QpStatus::kSolved) find_solution();
  }
  if (status != QpStatus::kSolved) return status;
  refine();
  store_multipliers();
  for (std::size_t i = 0; i < program.lower.size(); ++i)
    s_[i] = std::min(std::max(s_[i], program.lower[i]), program.upper[i]);
  return status;
}

}  // namespace tfminimize
