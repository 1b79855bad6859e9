#include "solvers/bfgs/inverse_hessian.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "solvers/padding.h"
#include "solvers/threads.h"

namespace tfminimize::solvers {
namespace {

constexpr std::size_t kTileSize = kEdge * kEdge;
// A chunk of so many tiles, 0.5 MB, takes longer than waking a thread. More than kMaxChunks would cost memory for
// products. Both depend on n alone, so that the bits do not depend on the threads.
constexpr std::size_t kChunkTiles = 1024;
constexpr std::size_t kMaxChunks = 32;
// An element of H is off by so many roundings for each variable.
constexpr double kRoundings = 10;

std::size_t num_stripes(std::size_t n) { return padded(n) / kEdge; }

std::size_t count_chunks(std::size_t n) {
  return std::clamp(tiles_before(num_stripes(n)) / kChunkTiles, std::size_t{1}, kMaxChunks);
}

/// The first stripe of a chunk, so that all chunks have about as many tiles.
std::size_t first_stripe(std::size_t chunk, std::size_t num_chunks, std::size_t stripes) {
  const double part = static_cast<double>(chunk) / static_cast<double>(num_chunks);
  return static_cast<std::size_t>(std::lround(std::sqrt(part) * static_cast<double>(stripes)));
}

/// One pass over all chunks.
struct Pass {
  const TriangleKernels& kernels;
  double* tiles;
  const RankTwoUpdate* update;  ///< Or null.
  const double* x;
  double* products;  ///< Of the chunks, `stripes` · kEdge each.
  std::size_t num_chunks;
  std::size_t stripes;

  Stripes of_chunk(std::size_t chunk) const {
    return {first_stripe(chunk, num_chunks, stripes), first_stripe(chunk + 1, num_chunks, stripes)};
  }

  static void run(const void* context, std::size_t chunk) {
    const Pass& pass = *static_cast<const Pass*>(context);
    const Stripes chunk_stripes = pass.of_chunk(chunk);
    double* product = pass.products + chunk * pass.stripes * kEdge;
    std::fill_n(product, chunk_stripes.end * kEdge, 0.0);
    if (pass.update == nullptr) {
      pass.kernels.multiply(pass.tiles, chunk_stripes, pass.x, product);
    } else {
      pass.kernels.update_and_multiply(pass.tiles, chunk_stripes, *pass.update, pass.x, product);
    }
  }
};

}  // namespace

InverseHessian::InverseHessian(std::size_t n)
    : n_(n),
      num_chunks_(count_chunks(n)),
      tiles_(tiles_before(num_stripes(n)) * kTileSize),
      vectors_(AlignedArray<double>::zeros(3 * padded(n))),
      products_(num_chunks_ * padded(n)) {}

double InverseHessian::bytes(std::size_t n) {
  const auto stripes = static_cast<double>(num_stripes(n));
  const auto vectors = static_cast<double>(3 + count_chunks(n));
  return sizeof(double) * (stripes * (stripes + 1) / 2 * kTileSize + vectors * static_cast<double>(padded(n)));
}

RankTwoUpdate InverseHessian::waiting() const {
  if (!s_.has_update) return {1, 0, 0, 0, u(), s()};
  const UpdateCoefficients& c = s_.coefficients;
  return {c.h, c.uu, c.us, c.ss, u(), s()};
}

void InverseHessian::set_identity(double scale) {
  s_ = Scalars();
  s_.scale = scale;
  std::fill_n(diagonal(), n_, scale);
}

bool InverseHessian::has_digits_for(const double* s, const double* y, double sy) const {
  double in_h = 0;   // The terms of yᵀHy are to become sᵀy,
  double in_ss = 0;  // and ssᵀ/(sᵀy) is added to H.
  for (std::size_t i = 0; i < n_; ++i) {
    in_h = std::max(in_h, diagonal()[i] * y[i] * y[i]);
    in_ss = std::max(in_ss, s[i] * s[i] / diagonal()[i]);
  }
  const double rounding = kRoundings * static_cast<double>(n_) * std::numeric_limits<double>::epsilon();
  return rounding * std::max(in_h, in_ss) <= sy;
}

bool InverseHessian::may_be_definite() const {
  return std::all_of(diagonal(), diagonal() + n_, [](double h) { return h > 0 && std::isfinite(h); });
}

void InverseHessian::fill_identity() {
  std::fill_n(tiles_.data(), tiles_.size(), 0.0);
  for (std::size_t stripe = 0; stripe < num_stripes(n_); ++stripe) {
    double* tile = tiles_.data() + (tiles_before(stripe) + stripe) * kTileSize;
    for (std::size_t r = 0; r < kEdge; ++r) tile[r * kEdge + r] = s_.scale;
  }
  s_.is_identity = false;
}

void InverseHessian::set(Span<const double> dense) {
  if (dense.size() != n_ * n_) throw std::invalid_argument("The inverse Hessian must have n · n elements.");
  s_ = Scalars();
  fill_identity();  // Behind n there is nothing else.
  for (std::size_t i = 0; i < n_; ++i) {
    diagonal()[i] = dense[i * n_ + i];
    for (std::size_t j = 0; j <= i; ++j) {
      double* tile = tiles_.data() + (tiles_before(i / kEdge) + j / kEdge) * kTileSize;
      tile[i % kEdge * kEdge + j % kEdge] = dense[i * n_ + j];
      if (i / kEdge == j / kEdge) tile[j % kEdge * kEdge + i % kEdge] = dense[i * n_ + j];
    }
  }
}

double InverseHessian::element(std::size_t i, std::size_t j) const {
  if (i < j) std::swap(i, j);
  const double* tile = tiles_.data() + (tiles_before(i / kEdge) + j / kEdge) * kTileSize;
  double h = s_.is_identity ? (i == j ? s_.scale : 0) : tile[i % kEdge * kEdge + j % kEdge];
  if (!s_.has_update) return h;
  const RankTwoUpdate w = waiting();  // As the kernels round.
  return w.h * h + (w.uu * w.u[i] + w.us * w.s[i]) * w.u[j] + (w.us * w.u[i] + w.ss * w.s[i]) * w.s[j];
}

void InverseHessian::take(const InverseHessian& other) {
  std::copy_n(other.vectors_.data(), vectors_.size(), vectors_.data());
  if (!other.s_.is_identity) std::copy_n(other.tiles_.data(), tiles_.size(), tiles_.data());
  s_ = other.s_;
}

void InverseHessian::multiply(const double* x, double* product) {
  const std::size_t stripes = num_stripes(n_);
  if (is_identity()) {
    for (std::size_t i = 0; i < stripes * kEdge; ++i) product[i] = s_.scale * x[i];
    return;
  }
  if (s_.is_identity) fill_identity();
  const RankTwoUpdate update = waiting();
  const Pass pass{triangle_kernels(), tiles_.data(), s_.has_update ? &update : nullptr, x, products_.data(),
                  num_chunks_,        stripes};
  run_in_threads(num_chunks_, &Pass::run, &pass, 2);
  s_.has_update = false;
  std::copy_n(products_.data() + (num_chunks_ - 1) * stripes * kEdge, stripes * kEdge, product);
  for (std::size_t chunk = num_chunks_ - 1; chunk-- > 0;) {
    const double* part = products_.data() + chunk * stripes * kEdge;
    const std::size_t size = pass.of_chunk(chunk).end * kEdge;
    for (std::size_t i = 0; i < size; ++i) product[i] += part[i];
  }
}

void InverseHessian::update(const UpdateCoefficients& coefficients, const double* s, const double* u) {
  std::copy_n(s, padded(n_), this->s());
  std::copy_n(u, padded(n_), this->u());
  const UpdateCoefficients& c = coefficients;
  for (std::size_t i = 0; i < n_; ++i) {
    const double with_u = (c.uu * u[i] + c.us * s[i]) * u[i];
    diagonal()[i] = c.h * diagonal()[i] + with_u + (c.us * u[i] + c.ss * s[i]) * s[i];
  }
  s_.coefficients = coefficients;
  s_.has_update = true;
}

void InverseHessian::copy(Span<double> dense) const {
  if (dense.size() != n_ * n_) throw std::invalid_argument("The inverse Hessian has n · n elements.");
  for (std::size_t i = 0; i < n_; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      const double h = element(i, j);
      dense[i * n_ + j] = h;
      dense[j * n_ + i] = h;
    }
  }
}

}  // namespace tfminimize::solvers
