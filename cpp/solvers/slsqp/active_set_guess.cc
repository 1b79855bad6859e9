#include "solvers/slsqp/active_set_guess.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace tfminimize::solvers {
namespace {

// Rounds of leaving and entering, and steps of one run of conjugate gradients. With more, the dual method is as fast.
constexpr int kMaxRounds = 12;
constexpr int kMaxSteps = 25;
// A residual that is relatively smaller than this is rounding.
constexpr double kRounding = 16 * std::numeric_limits<double>::epsilon();
// The multipliers may not be unique if a smaller part than this of a normal is independent of those before,
constexpr double kIndependent = 1e-4;
// or if a multiplier or a slack is relatively smaller than this.
constexpr double kPositive = 1e-10;

}  // namespace

ActiveSetGuess::ActiveSetGuess(std::size_t n, std::size_t m)
    : n_(n), kernels_(dense_kernels()), is_active_(m + 2 * (n + 1)), r_(n + 1), step_(zeros(padded(n + 1))) {
  active_.reserve(n + 1);
  fingerprints_.reserve(n + 1);
  entering_.reserve(is_active_.size());
  for (std::vector<double>* vector : {&lambda_, &residual_, &tolerance_, &direction_, &preconditioned_}) {
    vector->reserve(n + 1);
  }
}

void ActiveSetGuess::learn(const ConstraintRows& rows, const std::vector<Row>& active,
                           const std::vector<double>& lambda, const UpperTriangle& r) {
  active_ = active;
  lambda_ = lambda;
  fingerprints_.clear();
  for (const Row row : active_) fingerprints_.push_back(rows.fingerprint(row));
  r_ = r;
}

/// K -= c·w·wᵀ with w = N·B⁻¹·z and c = sigma/(1 + sigma·zᵀB⁻¹z), as long as N is the same.
void ActiveSetGuess::prepare_update(const LdltFactors& b, const ConstraintRows& rows, double sigma, const double* z) {
  if (empty()) return;
  std::copy_n(z, step_.size(), step_.data());
  b.solve(step_.data());
  const double c = sigma / (1 + sigma * kernels_.dot(step_.size(), z, step_.data()));
  direction_.resize(active_.size());
  for (std::size_t k = 0; k < active_.size(); ++k) direction_[k] = rows.product(active_[k], step_.data());
  if (!r_.update(-c, direction_.data())) forget();
}

bool ActiveSetGuess::solve(const LdltFactors& b, ConstraintRows& rows, const std::vector<Row>& candidates, double* s) {
  std::fill(is_active_.begin(), is_active_.end(), 0);
  for (const Row row : active_) is_active_[row] = 1;
  bool usable = replace_changed_rows(b, rows);
  for (int round = 0; usable && round < kMaxRounds; ++round) {
    if (!solve_multipliers(b, rows, s)) break;
    rows.evaluate(s);
    bool changed = false;
    usable = update_set(b, rows, candidates, changed);
    if (usable && !changed) return true;
  }
  forget();
  return false;
}

/// R⁻¹R⁻ᵀ·vector
void ActiveSetGuess::precondition(std::vector<double>& vector) const {
  r_.solve_transposed(vector.data());
  r_.solve(vector.data());
}

/// Finds the multipliers of the present set, and s.
bool ActiveSetGuess::solve_multipliers(const LdltFactors& b, const ConstraintRows& rows, double* s) {
  const Span<const double> gradient = rows.program().gradient;
  std::fill_n(s, padded(n_ + 1), 0.0);
  for (std::size_t i = 0; i < n_; ++i) s[i] = -gradient[i];
  for (std::size_t k = 0; k < active_.size(); ++k) rows.add_normal(active_[k], lambda_[k], s);
  b.solve(s);
  residual_.resize(active_.size());
  tolerance_.resize(active_.size());
  // The steps update the residual. If it has drifted from the true one, the next run begins with that.
  for (int run = 0; run < 3; ++run) {
    if (evaluate_residual(rows, s) <= 1) return true;
    if (!iterate_conjugate_gradients(b, rows, s)) return false;
  }
  return evaluate_residual(rows, s) <= 1;
}

/// Computes b - N·s. Returns the largest element, in units of its tolerance.
double ActiveSetGuess::evaluate_residual(const ConstraintRows& rows, const double* s) {
  const double s_length = std::sqrt(kernels_.dot(padded(n_ + 1), s, s));
  double greatest = 0;
  for (std::size_t k = 0; k < active_.size(); ++k) {
    const Row row = active_[k];
    residual_[k] = rows.bound(row) - rows.product(row, s);
    tolerance_[k] = kRounding * (std::abs(rows.bound(row)) + rows.length(row) * s_length);
    greatest = std::max(greatest, std::abs(residual_[k]) / tolerance_[k]);
  }
  return greatest;
}

/// Improves λ and s by conjugate gradients. False if they break down or take too long.
bool ActiveSetGuess::iterate_conjugate_gradients(const LdltFactors& b, const ConstraintRows& rows, double* s) {
  const std::size_t size = active_.size();
  double rho = 0;
  for (int step = 0; step < kMaxSteps; ++step) {
    preconditioned_ = residual_;
    precondition(preconditioned_);
    double next = 0;
    for (std::size_t k = 0; k < size; ++k) next += residual_[k] * preconditioned_[k];
    if (step == 0) direction_.assign(size, 0.0);
    for (std::size_t k = 0; k < size; ++k) {
      direction_[k] = preconditioned_[k] + (step == 0 ? 0 : next / rho) * direction_[k];
    }
    rho = next;
    std::fill_n(step_.data(), step_.size(), 0.0);
    for (std::size_t k = 0; k < size; ++k) rows.add_normal(active_[k], direction_[k], step_.data());
    b.solve(step_.data());
    double curvature = 0;
    for (std::size_t k = 0; k < size; ++k) {
      preconditioned_[k] = rows.product(active_[k], step_.data());
      curvature += direction_[k] * preconditioned_[k];
    }
    if (!(curvature > 0 && rho > 0)) return false;
    const double length = rho / curvature;
    kernels_.add(padded(n_ + 1), length, step_.data(), s);
    double greatest = 0;
    for (std::size_t k = 0; k < size; ++k) {
      lambda_[k] += length * direction_[k];
      residual_[k] -= length * preconditioned_[k];
      greatest = std::max(greatest, std::abs(residual_[k]) / tolerance_[k]);
    }
    if (greatest <= 0.5) return true;
  }
  return false;
}

/// Lets constraints leave and enter. False if that fails, or if none does but the solution may not be unique.
bool ActiveSetGuess::update_set(const LdltFactors& b, const ConstraintRows& rows, const std::vector<Row>& candidates,
                                bool& changed) {
  entering_.clear();
  bool certain = true;
  for (const Row row : candidates) {
    if (is_active_[row] != 0) continue;
    if (rows.is_violated(row)) {
      entering_.emplace_back(row, 0.0);
    } else if (is_active_[rows.opposite(row)] == 0 && rows.slack(row) <= kPositive * rows.scale(row)) {
      certain = false;  // Both bounds of a fixed variable are active, and only their difference matters.
    }
  }
  double greatest = 0;
  for (const double lambda : lambda_) greatest = std::max(greatest, std::abs(lambda));
  for (std::size_t k = active_.size(); k-- > 0;) {
    if (rows.is_equality(active_[k])) continue;
    if (lambda_[k] <= 0) {
      leave(k);
      changed = true;
    } else if (lambda_[k] <= kPositive * greatest) {
      certain = false;
    }
  }
  changed = changed || !entering_.empty();
  if (!enter_all(b, rows)) return false;
  return changed || (certain && is_well_conditioned());
}

bool ActiveSetGuess::is_well_conditioned() const {
  for (std::size_t k = 0; k < r_.size(); ++k) {
    double whole = 0;
    for (std::size_t i = 0; i <= k; ++i) whole += r_(i, k) * r_(i, k);
    if (!(r_(k, k) * r_(k, k) > kIndependent * kIndependent * whole)) return false;
  }
  return true;
}

/// Updates R to the present normals. False if most have changed: then the dual method is as fast.
bool ActiveSetGuess::replace_changed_rows(const LdltFactors& b, const ConstraintRows& rows) {
  entering_.clear();
  for (std::size_t k = active_.size(); k-- > 0;) {
    if (rows.fingerprint(active_[k]) != fingerprints_[k]) entering_.emplace_back(active_[k], lambda_[k]);
  }
  if (2 * entering_.size() > active_.size()) return false;
  std::size_t k = active_.size();
  for (const auto& entry : entering_) {
    while (active_[--k] != entry.first) {
    }
    leave(k);
  }
  return enter_all(b, rows);
}

bool ActiveSetGuess::enter_all(const LdltFactors& b, const ConstraintRows& rows) {
  return std::all_of(entering_.begin(), entering_.end(),
                     [&](const auto& entry) { return enter(b, rows, entry.first, entry.second); });
}

void ActiveSetGuess::leave(std::size_t k) {
  const auto place = static_cast<std::ptrdiff_t>(k);
  is_active_[active_[k]] = 0;
  r_.remove(k, [](std::size_t, double, double) {});
  active_.erase(active_.begin() + place);
  lambda_.erase(lambda_.begin() + place);
  fingerprints_.erase(fingerprints_.begin() + place);
}

bool ActiveSetGuess::enter(const LdltFactors& b, const ConstraintRows& rows, Row row, double lambda) {
  if (active_.size() == b.order()) return false;
  rows.write_normal(row, step_.data());
  b.solve(step_.data());
  residual_.resize(active_.size());
  for (std::size_t k = 0; k < active_.size(); ++k) residual_[k] = rows.product(active_[k], step_.data());
  r_.solve_transposed(residual_.data());
  const double whole = rows.product(row, step_.data());
  double rest = whole;
  for (const double element : residual_) rest -= element * element;
  if (!(rest > kIndependent * kIndependent * whole)) return false;
  r_.append(residual_.data(), std::sqrt(rest));
  active_.push_back(row);
  lambda_.push_back(lambda);
  fingerprints_.push_back(rows.fingerprint(row));
  is_active_[row] = 1;
  return true;
}

}  // namespace tfminimize::solvers
