#ifndef TFMINIMIZE_SOLVERS_BFGS_INVERSE_HESSIAN_H_
#define TFMINIMIZE_SOLVERS_BFGS_INVERSE_HESSIAN_H_

#include <cstddef>
#include <type_traits>

#include "solvers/aligned_array.h"
#include "solvers/bfgs/bfgs_update.h"
#include "solvers/kernels/triangle_kernels.h"
#include "solvers/snapshot.h"
#include "solvers/span.h"

namespace tfminimize::solvers {

/// The inverse Hessian of BFGS: the lower triangle, n(n + 1)/2 doubles and a little for whole tiles.
///
/// An update waits until the next product, and then both are done in one pass over the triangle, in several threads if
/// it is large. Before the first update H is the identity, which takes no pass and no memory is touched for.
///
/// Vectors are 64-byte aligned and padded(n) long, with zeros behind n.
class InverseHessian {
 public:
  explicit InverseHessian(std::size_t n);

  /// What it allocates for n variables.
  static double bytes(std::size_t n);

  std::size_t size() const { return n_; }
  bool is_identity() const { return s_.is_identity && !s_.has_update; }  ///< Or a multiple of it.

  /// H = scale·I
  void set_identity(double scale);
  /// dense: [n * n]; only its lower triangle is read.
  void set(Span<const double> dense);
  /// Takes over another one of the same size.
  void take(const InverseHessian& other);

  /// product = Hx
  void multiply(const double* x, double* product);
  /// Whether an update with this pair leaves digits of what was before, and of the pair: not if one of them is as
  /// small as the rounding of the other. Does not depend on the scale of any variable.
  bool has_digits_for(const double* s, const double* y, double sy) const;
  /// Whether the diagonal, at least, shows a definite matrix.
  bool may_be_definite() const;
  /// Updates H with the pair whose Hy is u. The vectors are copied.
  void update(const UpdateCoefficients& coefficients, const double* s, const double* u);

  /// Writes H into dense, [n * n].
  void copy(Span<double> dense) const;

  template <typename Visit>
  void visit_state(Visit&& visit) {
    visit_value(visit, s_);
    check_saved(is_bool(s_.is_identity) && is_bool(s_.has_update), "its inverse Hessian");
    visit_elements(visit, vectors_);
    if (!s_.is_identity) visit_elements(visit, tiles_);
  }

 private:
  struct Scalars {
    bool is_identity = true;  ///< Without the update that waits, H is scale·I. The tiles then hold anything.
    bool has_update = false;
    double scale = 1;
    UpdateCoefficients coefficients;
  };
  static_assert(std::is_trivially_copyable_v<Scalars>);

  double* s() const { return vectors_.data(); }
  double* u() const { return vectors_.data() + vectors_.size() / 3; }
  double* diagonal() const { return vectors_.data() + 2 * (vectors_.size() / 3); }
  RankTwoUpdate waiting() const;
  double element(std::size_t i, std::size_t j) const;
  void fill_identity();

  std::size_t n_;
  std::size_t num_chunks_;
  AlignedArray<double> tiles_;
  AlignedArray<double> vectors_;   ///< s and u of the update that waits, and the diagonal after it.
  AlignedArray<double> products_;  ///< Of each chunk.
  Scalars s_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_BFGS_INVERSE_HESSIAN_H_
