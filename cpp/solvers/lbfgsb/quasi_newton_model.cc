#include "solvers/lbfgsb/quasi_newton_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "solvers/snapshot.h"

namespace tfminimize::solvers {

QuasiNewtonModel::QuasiNewtonModel(Vectors& v, std::size_t m, Storage storage)
    : v_(v),
      bounded_(v.lower != nullptr),
      kernels_(kernels(storage)),
      matrix_(v.n, m, bounded_, storage),
      scratch_(scratch_size(v.n, 2 * m + 1)),
      coefficients_(2 * m),
      y_dots_(2 * m),
      g_dots_(2 * m),
      cauchy_(bounded_ ? m : 0) {
  v.w = matrix_.tiles();
  v.scratch = scratch_.data();
  if (!bounded_) return;
  const std::size_t rows = num_tiles(v.n) * kTile;
  positions_ = AlignedArray<std::uint8_t>(rows);
  new_positions_ = AlignedArray<std::uint8_t>(rows);
  free_dots_.resize(2 * m + 1);
  active_dots_.resize(2 * m + 1);
  small_.resize(2 * m);
  restart();
}

void QuasiNewtonModel::restart() {
  matrix_.restart();
  num_active_ = 0;
  if (bounded_) std::fill_n(positions_.data(), positions_.size(), kFree);
}

void QuasiNewtonModel::check_positions() const {
  std::size_t num_active = 0;
  for (std::size_t i = 0; i < positions_.size(); ++i) {
    check_saved(positions_[i] <= (i < v_.n ? kFixed : kFree), "a variable's position");
    if (positions_[i] != kFree) ++num_active;
  }
  check_saved(num_active == num_active_, "its number of variables at a bound");
}

void QuasiNewtonModel::update_products() {
  if (bounded_) {
    cauchy_sums_ = kernels_.bounded_update(v_, kNoColumn, 1, kNoColumn, positions_.data(), new_positions_.data(),
                                           matrix_.columns(), y_dots_.data(), g_dots_.data());
  } else {
    kernels_.gradient_dots(v_, matrix_.columns(), g_dots_.data());
  }
}

void QuasiNewtonModel::reset() {
  matrix_.reset();
  update_products();
}

void QuasiNewtonModel::accept(double step, double s_dot_y, bool stores_pair) {
  if (!stores_pair) {
    update_products();
    return;
  }
  const std::size_t s_column = matrix_.direction_column();
  const std::size_t old_size = matrix_.size();
  const std::size_t y_column = matrix_.begin_pair();
  double y_dot_y = 0;
  if (bounded_) {
    matrix_.add_s_products(step, free_dots_.data(), active_dots_.data(), old_size == matrix_.size());
    cauchy_sums_ = kernels_.bounded_update(v_, s_column, step, y_column, positions_.data(), new_positions_.data(),
                                           matrix_.columns(), y_dots_.data(), g_dots_.data());
    y_dot_y = cauchy_sums_.y_squared_norm;
  } else {
    kernels_.update(v_, s_column, step, y_column, matrix_.columns(), y_dots_.data(), g_dots_.data());
    y_dot_y = y_dots_[2 * matrix_.size() - 1];
  }
  matrix_.finish_pair(s_dot_y, y_dot_y, y_dots_.data());
}

std::optional<DirectionSums> QuasiNewtonModel::find_direction() {
  std::optional<DirectionSums> sums;
  if (bounded_) {
    sums = find_bounded_direction();
  } else {
    if (matrix_.size() > 0) matrix_.newton_coefficients(g_dots_.data(), coefficients_.data());
    sums = kernels_.direction(v_, {-1 / matrix_.theta(), coefficients_.data(), matrix_.columns()},
                              matrix_.direction_column());
  }
  if (sums && !(sums->slope < 0)) {
    std::copy_n(v_.start, v_.n, v_.x);
    return std::nullopt;
  }
  return sums;
}

std::optional<DirectionSums> QuasiNewtonModel::find_bounded_direction() {
  update_free_set();
  std::optional<Combination> step;
  if (matrix_.size() > 0 && num_active_ < v_.n) step = newton_step();
  const bool knows_cauchy_point = !step || !is_before_first_breakpoint(*step);
  bool begins_at_x = step.has_value();
  if (knows_cauchy_point) {
    std::copy_n(positions_.data(), positions_.size(), new_positions_.data());
    if (!find_cauchy_point(cauchy_sums_)) return std::nullopt;
    const bool changed = update_free_set();
    if (matrix_.size() == 0 || num_active_ == v_.n) return step_from_cauchy_point(v_.x, cauchy_.step(), {});
    if (changed || !step) {
      begins_at_x = false;
      step = subspace_step();
      if (!step) return std::nullopt;
    }
  }
  const DirectionSums sums = step_from_cauchy_point(v_.x, begins_at_x ? 0 : cauchy_.step(), *step);
  if (!sums.clipped || !(sums.slope > 0)) return sums;
  if (begins_at_x) {
    if (!knows_cauchy_point) {
      CauchySums without_breakpoints = cauchy_sums_;
      without_breakpoints.num_breakpoints = 0;
      if (!find_cauchy_point(without_breakpoints)) return sums;
    }
    step = subspace_step();
    if (!step) return sums;
  }
  return truncate(*step);
}

bool QuasiNewtonModel::find_cauchy_point(const CauchySums& sums) {
  if (matrix_.size() > 0 && !matrix_.factorize_middle()) return false;
  // The line search has ended, so the memory of v.start and v.start_gradient is free for breakpoints, two doubles each.
  static_assert(sizeof(Breakpoint) == 2 * sizeof(double));
  const Span<Breakpoint> storage(reinterpret_cast<Breakpoint*>(v_.start), v_.n);
  cauchy_.find(v_, matrix_, sums, g_dots_.data(), new_positions_.data(), storage);
  return true;
}

std::optional<Combination> QuasiNewtonModel::newton_step() {
  const std::size_t k = matrix_.size();
  const double theta = matrix_.theta();
  if (num_active_ == 0) {
    for (std::size_t j = 0; j < 2 * k; ++j) small_[j] = -g_dots_[j];
    matrix_.newton_coefficients(small_.data(), coefficients_.data());
  } else {
    if (!matrix_.factorize_subspace()) return std::nullopt;
    for (std::size_t j = 0; j < k; ++j) coefficients_[j] = theta * g_dots_[j];
    std::copy_n(g_dots_.begin() + static_cast<std::ptrdiff_t>(k), k,
                coefficients_.begin() + static_cast<std::ptrdiff_t>(k));
    matrix_.solve_subspace(coefficients_.data());
    for (std::size_t j = 0; j < k; ++j) coefficients_[j] /= theta;
    for (std::size_t j = k; j < 2 * k; ++j) coefficients_[j] /= theta * theta;
  }
  return Combination{-1 / theta, coefficients_.data(), matrix_.columns()};
}

bool QuasiNewtonModel::is_before_first_breakpoint(const Combination& newton_step) const {
  // gᵀB⁻¹g, with (S, Y)ᵀg = -g_dots.
  double decrease = -newton_step.g_coefficient * cauchy_sums_.squared_norm;
  for (std::size_t j = 0; j < newton_step.columns.count; ++j) decrease += newton_step.coefficients[j] * g_dots_[j];
  return decrease < cauchy_sums_.first_breakpoint * cauchy_sums_.squared_norm;
}

DirectionSums QuasiNewtonModel::step_from_cauchy_point(const double* from, double cauchy_step,
                                                       const Combination& step) {
  return kernels_.bounded_direction(v_, from, positions_.data(), cauchy_step, step, matrix_.direction_column(),
                                    matrix_.columns_with_direction(), free_dots_.data(), active_dots_.data());
}

std::optional<Combination> QuasiNewtonModel::subspace_step() {
  if (!matrix_.factorize_subspace()) return std::nullopt;
  const std::size_t k = matrix_.size();
  const double theta = matrix_.theta();
  // r = -Zᵀ(g + θ(xᶜ - x) - W·M·c), eq. (5.4); a free variable has xᶜ - x = -t·g.
  const double g_part = 1 - theta * cauchy_.step();
  std::vector<double>& mc = coefficients_;
  std::copy_n(cauchy_.c().begin(), 2 * k, mc.begin());
  matrix_.multiply_middle(mc.data());
  // W_Fᵀr, with W_Fᵀg = -p.
  std::vector<double>& v = small_;
  for (std::size_t j = 0; j < 2 * k; ++j) v[j] = g_part * cauchy_.p()[j];
  matrix_.add_free_gram_product(mc.data(), v.data());
  matrix_.solve_subspace(v.data());
  // r/θ + W_F·v/θ², as coefficients of S and Y: W = (θS, Y).
  for (std::size_t j = 0; j < k; ++j) coefficients_[j] = mc[j] + v[j] / theta;
  for (std::size_t j = k; j < 2 * k; ++j) coefficients_[j] = (mc[j] + v[j] / theta) / theta;
  return Combination{-g_part / theta, coefficients_.data(), matrix_.columns()};
}

DirectionSums QuasiNewtonModel::truncate(const Combination& step) {
  const std::size_t d_column = matrix_.direction_column();
  const Truncation shortest = kernels_.truncate(v_, positions_.data(), cauchy_.step(), step, d_column);
  // The blocking variable must end exactly at its bound: it goes far beyond and is clipped.
  if (shortest.ratio < 1) {
    v_.w.set_element(shortest.variable, d_column, std::copysign(v_.w.largest(), shortest.d));
  }
  const auto column = static_cast<std::int32_t>(d_column);
  return step_from_cauchy_point(v_.start, cauchy_.step(), {0, &shortest.ratio, {&column, 1}});
}

bool QuasiNewtonModel::update_free_set() {
  const bool has_pairs = matrix_.size() > 0;
  bool changed = false;
  std::size_t num_active = 0;
  for (std::size_t t = 0; t < num_tiles(v_.n); ++t) {
    const std::uint8_t* before = positions_.data() + t * kTile;
    const std::uint8_t* after = new_positions_.data() + t * kTile;
    std::uint64_t word_before;
    std::uint64_t word_after;
    std::memcpy(&word_before, before, kTile);
    std::memcpy(&word_after, after, kTile);
    if (word_after == 0 && word_before == 0) continue;
    for (std::size_t i = 0; i < kTile; ++i) {
      const bool enters = after[i] == kFree;
      if (!enters) ++num_active;
      if (enters == (before[i] == kFree)) continue;
      changed = true;
      if (has_pairs) matrix_.update_free_set(t * kTile + i, enters);
    }
  }
  num_active_ = num_active;
  if (num_active == 0) matrix_.clear_active();
  std::swap(positions_, new_positions_);
  return changed;
}

}  // namespace tfminimize::solvers
