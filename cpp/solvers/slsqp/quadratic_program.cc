#include "solvers/slsqp/quadratic_program.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "solvers/snapshot.h"

namespace tfminimize::solvers {
namespace {

// A violation of at most this many roundings of its terms does not count.
constexpr double kRounding = 100;

}  // namespace

ConstraintRows::ConstraintRows(std::size_t n, std::size_t m) : n_(n), m_(m), kernels_(dense_kernels()), products_(m) {}

void ConstraintRows::list_inequalities(std::vector<Row>& rows) const {
  rows.clear();
  for (std::size_t i = program_.num_equalities; i < m_; ++i) rows.push_back(i);
  const auto list_bounds = [&](Span<const double> bounds, Row first) {
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      if (std::isfinite(bounds[i])) rows.push_back(first + i);
    }
    if (!program_.relaxation.empty()) rows.push_back(first + n_);
  };
  list_bounds(program_.lower, lower(0));
  list_bounds(program_.upper, upper(0));
}

double ConstraintRows::bound(Row row) const {
  if (row < m_) return -program_.constraints[row];
  if (variable(row) == n_) return is_lower(row) ? 0 : -1;
  return is_lower(row) ? program_.lower[variable(row)] : -program_.upper[variable(row)];
}

double ConstraintRows::length(Row row) const {
  if (row >= m_) return 1;
  const double extra = program_.relaxation.empty() ? 0 : program_.relaxation[row];
  return std::sqrt(kernels_.dot(padded(n_), normal(row), normal(row)) + extra * extra);
}

std::uint64_t ConstraintRows::fingerprint(Row row) const {
  if (row >= m_) return 0;
  return checksum(reinterpret_cast<const std::uint8_t*>(normal(row)), n_ * sizeof(double));
}

void ConstraintRows::write_normal(Row row, double* v) const {
  std::fill_n(v, padded(n_ + 1), 0.0);
  add_normal(row, 1, v);
}

void ConstraintRows::add_normal(Row row, double a, double* v) const {
  if (row >= m_) {
    v[variable(row)] += is_lower(row) ? a : -a;
    return;
  }
  kernels_.add(padded(n_), a, normal(row), v);
  if (!program_.relaxation.empty()) v[n_] += a * program_.relaxation[row];
}

double ConstraintRows::product(Row row, const double* x) const {
  if (row >= m_) return is_lower(row) ? x[variable(row)] : -x[variable(row)];
  // x[n] is multiplied by a zero of the padding, unless n is a multiple of 8.
  const double product = kernels_.dot(padded(n_), normal(row), x);
  return program_.relaxation.empty() ? product : product + program_.relaxation[row] * x[n_];
}

void ConstraintRows::evaluate(double* s) {
  s_ = s;
  s_length_ = std::sqrt(kernels_.dot(padded(n_ + 1), s, s));
  if (m_ == 0) return;
  kernels_.multiply(m_, padded(n_), program_.jacobian.data(), padded(n_), s, products_.data());
  for (std::size_t i = 0; i < program_.relaxation.size(); ++i) products_[i] += program_.relaxation[i] * s[n_];
}

double ConstraintRows::scale(Row row) const { return std::abs(bound(row)) + length(row) * s_length_; }

bool ConstraintRows::is_violated(Row row) const {
  const double violation = -slack(row);
  return violation > 0 && violation > kRounding * std::numeric_limits<double>::epsilon() * scale(row);
}

}  // namespace tfminimize::solvers
