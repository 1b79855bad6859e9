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
// A set may change as much as before in so many rounds. If it does once more, it is likely to do so for ever.
constexpr int kMaxRoundsInVain = 1;
// A residual that is relatively smaller than this is rounding.
constexpr double kRounding = 16 * std::numeric_limits<double>::epsilon();
// The multipliers may not be unique if a smaller part than this of a normal is independent of those before,
constexpr double kIndependent = 1e-4;
// or if a multiplier or a slack is relatively smaller than this.
constexpr double kPositive = 1e-10;
// If s becomes shorter by more than this factor, the rounding of its first value counts, and it is computed again.
constexpr double kMaxShrinking = 100;
// So many normals are transformed together.
constexpr std::size_t kGroup = 4;

}  // namespace

ActiveSetGuess::ActiveSetGuess(std::size_t n, std::size_t m)
    : n_(n), kernels_(dense_kernels()), is_active_(m + 2 * (n + 1)), r_(n + 1), step_(zeros(padded(n + 1))) {
  active_.reserve(n + 1);
  fingerprints_.reserve(n + 1);
  leaves_.reserve(n + 1);
  entering_.reserve(is_active_.size());
  for (std::vector<double>* vector : {&lambda_, &residual_, &tolerance_, &direction_, &preconditioned_}) {
    vector->reserve(n + 1);
  }
}

void ActiveSetGuess::learn(const ConstraintRows& rows, const std::vector<Row>& active,
                           const std::vector<double>& lambda, const UpperTriangle& r) {
  active_ = active;
  lambda_ = lambda;
  has_compared_ = false;
  fingerprints_.clear();
  for (const Row row : active_) fingerprints_.push_back(rows.fingerprint(row));
  r_ = r;
}

/// K -= c·w·wᵀ with w = N·B⁻¹·z and c = sigma/(1 + sigma·zᵀB⁻¹z), as long as N is the same.
void ActiveSetGuess::prepare_update(const LdltFactors& b, const ConstraintRows& rows, double sigma, const double* z) {
  if (empty() || is_stale()) return;
  if (!has_compared_) {
    num_transformed_ = 0;
    const std::size_t changed = list_changed(rows);
    if (is_faster_anew(changed, changed)) return r_.clear();
    has_compared_ = true;
  }
  std::copy_n(z, step_.size(), step_.data());
  b.solve(step_.data());
  const double c = sigma / (1 + sigma * kernels_.dot(step_.size(), z, step_.data()));
  direction_.resize(active_.size());
  for (std::size_t k = 0; k < active_.size(); ++k) direction_[k] = rows.product(active_[k], step_.data());
  if (!r_.update(-c, direction_.data())) r_.clear();
}

bool ActiveSetGuess::solve(const LdltFactors& b, ConstraintRows& rows, const std::vector<Row>& candidates, double* s,
                           ActiveSetFactors& room) {
  std::fill(is_active_.begin(), is_active_.end(), 0);
  for (const Row row : active_) is_active_[row] = 1;
  num_transformed_ = 0;
  has_compared_ = false;
  bool usable = replace_changed_rows(b, rows, room);
  std::size_t fewest = is_active_.size();
  int in_vain = 0;
  for (int round = 0; usable && round < kMaxRounds && in_vain <= kMaxRoundsInVain; ++round) {
    if (!solve_multipliers(b, rows, s)) break;
    rows.evaluate(s);
    std::size_t changes = 0;
    usable = update_set(b, rows, candidates, room, changes);
    if (usable && changes == 0) return true;
    in_vain += changes < fewest ? 0 : 1;
    fewest = std::min(fewest, changes);
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
  residual_.resize(active_.size());
  tolerance_.resize(active_.size());
  find_solution(b, rows, s);
  double length = std::sqrt(kernels_.dot(padded(n_ + 1), s, s));
  // The steps update the residual. If it has drifted from the true one, the next run begins with that.
  for (int run = 0; run < 4; ++run) {
    if (evaluate_residual(rows, s) <= 1) {
      const double now = std::sqrt(kernels_.dot(padded(n_ + 1), s, s));
      if (length <= kMaxShrinking * now) return true;
      find_solution(b, rows, s);
      length = now;
      continue;
    }
    if (!iterate_conjugate_gradients(b, rows, s)) return false;
  }
  return evaluate_residual(rows, s) <= 1;
}

/// s = B⁻¹(Nᵀλ - g)
void ActiveSetGuess::find_solution(const LdltFactors& b, const ConstraintRows& rows, double* s) const {
  const Span<const double> gradient = rows.program().gradient;
  std::fill_n(s, padded(n_ + 1), 0.0);
  for (std::size_t i = 0; i < n_; ++i) s[i] = -gradient[i];
  for (std::size_t k = 0; k < active_.size(); ++k) rows.add_normal(active_[k], lambda_[k], s);
  b.solve(s);
}

/// Computes b - N·s. Returns the largest element, in units of its tolerance.
double ActiveSetGuess::evaluate_residual(const ConstraintRows& rows, const double* s) {
  const double s_length = std::sqrt(kernels_.dot(padded(n_ + 1), s, s));
  if (!std::isfinite(s_length)) return std::numeric_limits<double>::infinity();
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
                                ActiveSetFactors& room, std::size_t& changes) {
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
  std::size_t leaving = 0;
  leaves_.assign(active_.size(), 0);
  for (std::size_t k = 0; k < active_.size(); ++k) {
    if (rows.is_equality(active_[k])) continue;
    if (lambda_[k] <= 0) {
      leaves_[k] = 1;
      ++leaving;
    } else if (lambda_[k] <= kPositive * greatest) {
      certain = false;
    }
  }
  changes = leaving + entering_.size();
  if (changes == 0) return certain && is_well_conditioned();
  const bool anew = is_faster_anew(leaving, entering_.size());
  leave(room, !anew);
  return anew ? factorize(b, rows, room) : enter_all(b, rows, room);
}

bool ActiveSetGuess::is_well_conditioned() const {
  for (std::size_t k = 0; k < r_.size(); ++k) {
    double whole = 0;
    for (std::size_t i = 0; i <= k; ++i) whole += r_(i, k) * r_(i, k);
    if (!(r_(k, k) * r_(k, k) > kIndependent * kIndependent * whole)) return false;
  }
  return true;
}

/// Lists the active rows whose normals have changed as leaving and as entering. Returns how many there are.
std::size_t ActiveSetGuess::list_changed(const ConstraintRows& rows) {
  entering_.clear();
  leaves_.assign(active_.size(), 0);
  for (std::size_t k = 0; k < active_.size(); ++k) {
    if (rows.fingerprint(active_[k]) == fingerprints_[k]) continue;
    entering_.emplace_back(active_[k], lambda_[k]);
    leaves_[k] = 1;
  }
  return entering_.size();
}

/// Updates R to the present normals.
bool ActiveSetGuess::replace_changed_rows(const LdltFactors& b, const ConstraintRows& rows, ActiveSetFactors& room) {
  if (!is_stale()) {
    const std::size_t changed = list_changed(rows);
    if (!is_faster_anew(changed, changed)) {
      leave(room, true);
      return enter_all(b, rows, room);
    }
  }
  entering_.clear();
  return factorize(b, rows, room);
}

/// Whether it is faster to compute R anew than to update it. Counts multiplications, those of vectors not kept in the
/// lanes of the processor threefold.
bool ActiveSetGuess::is_faster_anew(std::size_t leaving, std::size_t entering) const {
  const auto n = static_cast<double>(n_);
  const auto before = static_cast<double>(active_.size());
  const double after = before - static_cast<double>(leaving) + static_cast<double>(entering);
  const bool knows_v = num_transformed_ == active_.size();
  const double transform = n * n / 2;
  const double update = static_cast<double>(leaving) * 3 * before * before / 2 +
                        static_cast<double>(entering) * ((knows_v ? 1 : 2) * transform + after * n + after * after);
  const double transforms = knows_v ? static_cast<double>(entering) : after;
  return transforms * transform + after * after * (n / 2 + after / 6) < update;
}

bool ActiveSetGuess::enter_all(const LdltFactors& b, const ConstraintRows& rows, ActiveSetFactors& room) {
  return std::all_of(entering_.begin(), entering_.end(),
                     [&](const auto& entry) { return enter(b, rows, entry.first, entry.second, room); });
}

/// Removes the rows of leaves_ from W, from V as far as it is known, and from R if `from_r`.
void ActiveSetGuess::leave(ActiveSetFactors& room, bool from_r) {
  double* v = room.room_for(num_transformed_, num_transformed_);
  const std::size_t stride = padded(n_ + 1);
  const std::size_t num_transformed = num_transformed_;
  std::size_t stay = 0;
  for (std::size_t k = 0; k < active_.size(); ++k) {
    if (leaves_[k] != 0) {
      is_active_[active_[k]] = 0;
      if (from_r) r_.remove(stay, [](std::size_t, double, double) {});
      continue;
    }
    active_[stay] = active_[k];
    lambda_[stay] = lambda_[k];
    fingerprints_[stay] = fingerprints_[k];
    if (k < num_transformed && stay < k) std::copy_n(v + k * stride, stride, v + stay * stride);
    ++stay;
    if (k < num_transformed) num_transformed_ = stay;
  }
  active_.resize(stay);
  lambda_.resize(stay);
  fingerprints_.resize(stay);
}

void ActiveSetGuess::push(const ConstraintRows& rows, Row row, double lambda) {
  active_.push_back(row);
  lambda_.push_back(lambda);
  fingerprints_.push_back(rows.fingerprint(row));
  is_active_[row] = 1;
}

bool ActiveSetGuess::enter(const LdltFactors& b, const ConstraintRows& rows, Row row, double lambda,
                           ActiveSetFactors& room) {
  const std::size_t size = active_.size();
  if (size == b.order()) return false;
  residual_.resize(size);
  double whole = 0;
  if (num_transformed_ == size) {
    double* all = room.room_for(size + 1, size);
    double* v = all + size * b.stride();
    rows.write_normal(row, v);
    b.to_factor_space(v, 1, rows.first_nonzero(row));
    if (size > 0) kernels_.multiply(size, b.stride(), all, b.stride(), v, residual_.data());
    whole = kernels_.dot(b.stride(), v, v);
    ++num_transformed_;
  } else {
    rows.write_normal(row, step_.data());
    b.solve(step_.data());
    for (std::size_t k = 0; k < size; ++k) residual_[k] = rows.product(active_[k], step_.data());
    whole = rows.product(row, step_.data());
  }
  r_.solve_transposed(residual_.data());
  double rest = whole;
  for (const double element : residual_) rest -= element * element;
  if (!(rest > kIndependent * kIndependent * whole)) return false;
  r_.append(residual_.data(), std::sqrt(rest));
  push(rows, row, lambda);
  return true;
}

/// Adds entering_ to W, completes V, and computes R from it.
bool ActiveSetGuess::factorize(const LdltFactors& b, const ConstraintRows& rows, ActiveSetFactors& room) {
  const std::size_t known = num_transformed_;
  for (std::size_t k = known; k < active_.size(); ++k) entering_.emplace_back(active_[k], lambda_[k]);
  const std::size_t size = known + entering_.size();
  if (size > b.order()) return false;
  active_.resize(known);
  lambda_.resize(known);
  fingerprints_.resize(known);
  // Vectors of a group begin with about as many zeros.
  std::sort(entering_.begin(), entering_.end(), [&](const auto& one, const auto& other) {
    return std::make_pair(rows.first_nonzero(one.first), one.first) <
           std::make_pair(rows.first_nonzero(other.first), other.first);
  });
  double* v = room.room_for(size, known);
  const std::size_t stride = b.stride();
  for (const auto& entry : entering_) {
    rows.write_normal(entry.first, v + active_.size() * stride);
    push(rows, entry.first, entry.second);
  }
  for (std::size_t k = known; k < size; k += kGroup) {
    b.to_factor_space(v + k * stride, std::min(kGroup, size - k), rows.first_nonzero(active_[k]));
  }
  num_transformed_ = size;
  return r_.factorize(size, kIndependent * kIndependent, [&](std::size_t i, double* row) {
    kernels_.multiply(size - i, stride, v + i * stride, stride, v + i * stride, row + i);
  });
}

}  // namespace tfminimize::solvers
