#ifndef TFMINIMIZE_SOLVERS_LBFGSB_CAUCHY_POINT_H_
#define TFMINIMIZE_SOLVERS_LBFGSB_CAUCHY_POINT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "solvers/kernels/kernels.h"
#include "solvers/lbfgsb/compact_bfgs_matrix.h"
#include "solvers/span.h"

namespace tfminimize::solvers {

/// The first local minimizer of the quadratic model along the projected steepest descent path P(x - t·g)
/// (R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16 (1995), algorithm CP).
///
/// It collects breakpoints only as far as it follows the path, and sorts them by a heap. A path that ends before the
/// first breakpoint costs nothing.
class GeneralizedCauchyPoint {
 public:
  explicit GeneralizedCauchyPoint(std::size_t m) : p_(2 * m), c_(2 * m), row_(2 * m), middle_row_(2 * m) {}

  /// sums and d_dots are the results of bounded_update() at the present x. Marks in `positions` the variables that meet
  /// a bound. storage: [n], for breakpoints.
  void find(const Vectors& v, const CompactBfgsMatrix& b, const CauchySums& sums, const double* d_dots,
            std::uint8_t* positions, Span<Breakpoint> storage);

  /// t at the Cauchy point. A free variable has moved by -t·gᵢ.
  double step() const { return step_; }
  /// Wᵀ(xᶜ - x)
  const std::vector<double>& c() const { return c_; }
  /// W_Fᵀd over the variables that are still free.
  const std::vector<double>& p() const { return p_; }

 private:
  double step_ = 0;
  std::vector<double> p_;
  std::vector<double> c_;
  std::vector<double> row_;
  std::vector<double> middle_row_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LBFGSB_CAUCHY_POINT_H_
