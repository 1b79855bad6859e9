#include "solvers/lbfgsb/compact_bfgs_matrix.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "solvers/snapshot.h"

namespace tfminimize::solvers {

CompactBfgsMatrix::CompactBfgsMatrix(std::size_t n, std::size_t m, bool bounded, Storage storage)
    : n_(n),
      m_(m),
      bounded_(bounded),
      memory_(num_tiles(n) * kTile * (2 * m + 1) * element_size(storage)),
      tiles_{memory_.data(), 2 * m + 1, storage},
      s_slots_(m),
      y_slots_(m),
      column_ids_(2 * m),
      direction_ids_(2 * m + 1),
      d_(m),
      sy_free_(m),
      sy_active_(bounded ? m : 0),
      ss_free_(bounded ? m : 0),
      ss_active_(bounded ? m : 0),
      yy_free_(m),
      middle_(bounded ? m : 0),
      k_yy_(bounded ? m : 0),
      k_ss_(bounded ? m : 0),
      k_v_(bounded ? m : 0),
      middle_reciprocals_(bounded ? m : 0),
      k_yy_reciprocals_(bounded ? m : 0),
      k_ss_reciprocals_(bounded ? m : 0),
      small_(2 * m) {
  restart();
}

void CompactBfgsMatrix::restart() {
  direction_slot_ = 0;
  reset();
  for (std::size_t t = 0; t < num_tiles(n_); ++t) {
    std::fill_n(tiles_.at(t, direction_slot_), tiles_.tile_bytes(), std::byte{0});
  }
}

void CompactBfgsMatrix::reset() {
  k_ = 0;
  theta_ = 1;
  // The direction may be in any column of S. The pairs get the others, in order.
  std::int32_t next = 0;
  for (std::int32_t& slot : s_slots_) {
    if (next == static_cast<std::int32_t>(direction_slot_)) ++next;
    slot = next++;
  }
  std::iota(y_slots_.begin(), y_slots_.end(), static_cast<std::int32_t>(m_ + 1));
  renew_column_ids();
}

void CompactBfgsMatrix::renew_column_ids() {
  std::copy_n(s_slots_.begin(), k_, column_ids_.begin());
  std::copy_n(y_slots_.begin(), k_, column_ids_.begin() + static_cast<std::ptrdiff_t>(k_));
  std::copy_n(s_slots_.begin(), k_, direction_ids_.begin());
  direction_ids_[k_] = static_cast<std::int32_t>(direction_slot_);
  std::copy_n(y_slots_.begin(), k_, direction_ids_.begin() + static_cast<std::ptrdiff_t>(k_) + 1);
}

void CompactBfgsMatrix::check_columns() const {
  check_saved(k_ <= m_, "its number of pairs");
  // S and the direction have the columns 0 to m, Y has those after; no column has two uses.
  std::vector<bool> is_used(2 * m_ + 1, false);
  const auto use = [&](std::size_t column, std::size_t first, std::size_t end) {
    check_saved(column >= first && column < end && !is_used[column], "a column of its pairs");
    is_used[column] = true;
  };
  use(direction_slot_, 0, m_ + 1);
  for (const std::int32_t slot : s_slots_) use(static_cast<std::size_t>(slot), 0, m_ + 1);
  for (const std::int32_t slot : y_slots_) use(static_cast<std::size_t>(slot), m_ + 1, 2 * m_ + 1);
}

bool CompactBfgsMatrix::take_pairs(const CompactBfgsMatrix& other) {
  restart();
  if (other.k_ == 0) return true;
  copy_pairs(other);
  multiply_pairs();
  bool is_usable = true;
  for (std::size_t i = 0; i < k_; ++i) {
    d_[i] = sy_free_[i][i];
    is_usable = is_usable && d_[i] > 0 && std::isfinite(d_[i]) && std::isfinite(yy_free_[i][i]);
  }
  theta_ = yy_free_[k_ - 1][k_ - 1] / d_[k_ - 1];
  is_usable = is_usable && std::isfinite(theta_);
  if (!is_usable) restart();
  return is_usable;
}

void CompactBfgsMatrix::copy_pairs(const CompactBfgsMatrix& other) {
  k_ = std::min(m_, other.k_);
  const std::size_t dropped = other.k_ - k_;
  const auto copy = [&](std::size_t row, std::int32_t from, std::int32_t to) {
    tiles_.set_element(row, static_cast<std::size_t>(to), other.tiles_.element(row, static_cast<std::size_t>(from)));
  };
  for (std::size_t row = 0; row < num_tiles(n_) * kTile; ++row) {
    for (std::size_t i = 0; i < k_; ++i) {
      copy(row, other.s_column(dropped + i), s_column(i));
      copy(row, other.y_column(dropped + i), y_column(i));
    }
  }
  renew_column_ids();
}

/// Computes the products of the pairs over all variables, as if all were free.
void CompactBfgsMatrix::multiply_pairs() {
  for (SquareMatrix* a : {&sy_free_, &yy_free_, &ss_free_}) {
    std::fill(a->elements().begin(), a->elements().end(), 0.0);
  }
  clear_active();
  for (std::size_t t = 0; t < num_tiles(n_); ++t) {
    const auto product = [&](std::int32_t a, std::int32_t b) {
      double sum = 0;
      for (std::size_t row = t * kTile; row < (t + 1) * kTile; ++row) {
        sum += tiles_.element(row, static_cast<std::size_t>(a)) * tiles_.element(row, static_cast<std::size_t>(b));
      }
      return sum;
    };
    for (std::size_t i = 0; i < k_; ++i) {
      for (std::size_t j = 0; j < k_; ++j) {
        sy_free_[i][j] += product(s_slots_[i], y_slots_[j]);
        yy_free_[i][j] += product(y_slots_[i], y_slots_[j]);
        if (bounded_) ss_free_[i][j] += product(s_slots_[i], s_slots_[j]);
      }
    }
  }
}

std::size_t CompactBfgsMatrix::begin_pair() {
  if (k_ == m_) {
    std::rotate(s_slots_.begin(), s_slots_.begin() + 1, s_slots_.end());
    std::rotate(y_slots_.begin(), y_slots_.begin() + 1, y_slots_.end());
    std::rotate(d_.begin(), d_.begin() + 1, d_.end());
    sy_free_.drop_first();
    yy_free_.drop_first();
    if (bounded_) {
      sy_active_.drop_first();
      ss_free_.drop_first();
      ss_active_.drop_first();
    }
  } else {
    ++k_;
  }
  std::int32_t& newest = s_slots_[k_ - 1];
  const auto freed = static_cast<std::size_t>(newest);
  newest = static_cast<std::int32_t>(direction_slot_);
  direction_slot_ = freed;
  renew_column_ids();
  return static_cast<std::size_t>(y_slots_[k_ - 1]);
}

void CompactBfgsMatrix::add_s_products(double scale, const double* free_dots, const double* active_dots, bool dropped) {
  const std::size_t last = k_ - 1;
  const std::size_t skip = dropped ? 1 : 0;
  const std::size_t y_begin = last + skip + 1;  // After the columns of S and the direction.
  for (std::size_t j = 0; j < last; ++j) {
    ss_free_[last][j] = ss_free_[j][last] = scale * free_dots[j + skip];
    ss_active_[last][j] = ss_active_[j][last] = scale * active_dots[j + skip];
    sy_free_[last][j] = scale * free_dots[y_begin + j + skip];
    sy_active_[last][j] = scale * active_dots[y_begin + j + skip];
  }
  ss_free_[last][last] = scale * scale * free_dots[last + skip];
  ss_active_[last][last] = scale * scale * active_dots[last + skip];
}

void CompactBfgsMatrix::finish_pair(double s_dot_y, double y_dot_y, const double* y_dots) {
  const std::size_t last = k_ - 1;
  d_[last] = s_dot_y;
  theta_ = y_dot_y / s_dot_y;
  for (std::size_t i = 0; i < k_; ++i) {
    sy_free_[i][last] = y_dots[i];
    yy_free_[last][i] = yy_free_[i][last] = y_dots[k_ + i];
  }
}

bool CompactBfgsMatrix::factorize_middle() {
  for (std::size_t i = 0; i < k_; ++i) {
    for (std::size_t j = i; j < k_; ++j) middle_[i][j] = theta_ * (ss_free_[i][j] + ss_active_[i][j]);
  }
  for (std::size_t p = 0; p < k_; ++p) {
    for (std::size_t j = p + 1; j < k_; ++j) small_[j] = l(j, p);
    for (std::size_t i = p + 1; i < k_; ++i) {
      const double factor = small_[i] / d_[p];
      for (std::size_t j = i; j < k_; ++j) middle_[i][j] += factor * small_[j];
    }
  }
  return cholesky(middle_, k_, middle_reciprocals_.data());
}

void CompactBfgsMatrix::multiply_middle(double* v) const {
  // (θSᵀS + L·D⁻¹·Lᵀ)·b = v_s + L·D⁻¹·v_y,   D·a = Lᵀb - v_y.
  double* s = v;
  double* y = v + k_;
  for (std::size_t i = 0; i < k_; ++i) y[i] /= d_[i];
  for (std::size_t i = 1; i < k_; ++i) {
    for (std::size_t j = 0; j < i; ++j) s[i] += l(i, j) * y[j];
  }
  solve_upper_transposed(middle_, middle_reciprocals_.data(), k_, s);
  solve_upper(middle_, middle_reciprocals_.data(), k_, s);
  for (std::size_t j = 0; j < k_; ++j) {
    double value = 0;
    for (std::size_t i = j + 1; i < k_; ++i) value += l(i, j) * s[i];
    y[j] = value / d_[j] - y[j];
  }
}

void CompactBfgsMatrix::newton_coefficients(const double* g_dots, double* coefficients) const {
  // B⁻¹ = γI + [S γY]·[R⁻ᵀ(D + γYᵀY)R⁻¹  -R⁻ᵀ; -R⁻¹  0]·[S γY]ᵀ, γ = 1/θ, theorem 2.2 of the paper.
  const double gamma = 1 / theta_;
  double* s = coefficients;
  double* u = coefficients + k_;
  double* reciprocals = small_.data();
  invert_diagonal(sy_free_, k_, reciprocals);
  std::copy_n(g_dots, k_, u);
  solve_upper(sy_free_, reciprocals, k_, u);
  std::copy_n(g_dots + k_, k_, s);
  for (std::size_t j = 0; j < k_; ++j) {
    const double* row = yy_free_[j];
    for (std::size_t i = 0; i < k_; ++i) s[i] -= row[i] * u[j];
  }
  for (std::size_t i = 0; i < k_; ++i) s[i] = gamma * s[i] - d_[i] * u[i];
  solve_upper_transposed(sy_free_, reciprocals, k_, s);
  for (std::size_t i = 0; i < k_; ++i) u[i] *= gamma;
}

void CompactBfgsMatrix::add_free_gram_product(const double* v, double* result) const {
  for (std::size_t i = 0; i < k_; ++i) {
    double s = 0;
    double y = 0;
    for (std::size_t j = 0; j < k_; ++j) {
      s += theta_ * ss_free_[i][j] * v[j] + sy_free_[i][j] * v[k_ + j];
      y += theta_ * sy_free_[j][i] * v[j] + yy_free_[i][j] * v[k_ + j];
    }
    result[i] += theta_ * s;
    result[k_ + i] += y;
  }
}

bool CompactBfgsMatrix::factorize_subspace() {
  const double gamma = 1 / theta_;
  for (std::size_t i = 0; i < k_; ++i) {
    for (std::size_t j = i; j < k_; ++j) k_yy_[i][j] = gamma * yy_free_[i][j];
    k_yy_[i][i] += d_[i];
  }
  if (!cholesky(k_yy_, k_, k_yy_reciprocals_.data())) return false;

  for (std::size_t i = 0; i < k_; ++i) {
    for (std::size_t j = 0; j < k_; ++j) k_v_[j][i] = i > j ? sy_active_[i][j] : -sy_free_[i][j];
    for (std::size_t j = i; j < k_; ++j) k_ss_[i][j] = theta_ * ss_active_[i][j];
  }
  for (std::size_t p = 0; p < k_; ++p) {
    double* row_p = k_v_[p];
    for (std::size_t i = 0; i < k_; ++i) row_p[i] *= k_yy_reciprocals_[p];
    for (std::size_t j = p + 1; j < k_; ++j) {
      const double factor = k_yy_[p][j];
      double* row_j = k_v_[j];
      for (std::size_t i = 0; i < k_; ++i) row_j[i] -= factor * row_p[i];
    }
    for (std::size_t j = 0; j < k_; ++j) {
      double* row_j = k_ss_[j];
      for (std::size_t i = j; i < k_; ++i) row_j[i] += row_p[j] * row_p[i];
    }
  }
  return cholesky(k_ss_, k_, k_ss_reciprocals_.data());
}

void CompactBfgsMatrix::solve_subspace(double* v) const {
  // Eliminates y: J·Jᵀ·s' = s + V·C⁻¹·y,   y' = C⁻ᵀ(Vᵀ·s' - C⁻¹·y).
  double* s = v;
  double* y = v + k_;
  solve_upper_transposed(k_yy_, k_yy_reciprocals_.data(), k_, y);
  for (std::size_t j = 0; j < k_; ++j) {
    const double* row = k_v_[j];
    for (std::size_t i = 0; i < k_; ++i) s[i] += row[i] * y[j];
  }
  solve_upper_transposed(k_ss_, k_ss_reciprocals_.data(), k_, s);
  solve_upper(k_ss_, k_ss_reciprocals_.data(), k_, s);
  for (std::size_t j = 0; j < k_; ++j) {
    y[j] = -y[j];
    for (std::size_t i = 0; i < k_; ++i) y[j] += k_v_[j][i] * s[i];
  }
  solve_upper(k_yy_, k_yy_reciprocals_.data(), k_, y);
}

void CompactBfgsMatrix::row(std::size_t i, double* w) const {
  for (std::size_t j = 0; j < k_; ++j) {
    w[j] = theta_ * tiles_.element(i, static_cast<std::size_t>(s_slots_[j]));
    w[k_ + j] = tiles_.element(i, static_cast<std::size_t>(y_slots_[j]));
  }
}

void CompactBfgsMatrix::update_free_set(std::size_t i, bool enters) {
  double* s = small_.data();
  double* y = s + k_;
  for (std::size_t j = 0; j < k_; ++j) {
    s[j] = tiles_.element(i, static_cast<std::size_t>(s_slots_[j]));
    y[j] = tiles_.element(i, static_cast<std::size_t>(y_slots_[j]));
  }
  const double sign = enters ? 1 : -1;
  for (std::size_t a = 0; a < k_; ++a) {
    const double sa = sign * s[a];
    const double ya = sign * y[a];
    for (std::size_t b = 0; b < k_; ++b) {
      ss_free_[a][b] += sa * s[b];
      ss_active_[a][b] -= sa * s[b];
      sy_free_[a][b] += sa * y[b];
      yy_free_[a][b] += ya * y[b];
    }
    for (std::size_t b = 0; b < a; ++b) sy_active_[a][b] -= sa * y[b];
  }
}

void CompactBfgsMatrix::clear_active() {
  std::fill(ss_active_.elements().begin(), ss_active_.elements().end(), 0.0);
  std::fill(sy_active_.elements().begin(), sy_active_.elements().end(), 0.0);
}

}  // namespace tfminimize::solvers
