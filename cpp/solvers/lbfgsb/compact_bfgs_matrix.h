#ifndef TFMINIMIZE_SOLVERS_LBFGSB_COMPACT_BFGS_MATRIX_H_
#define TFMINIMIZE_SOLVERS_LBFGSB_COMPACT_BFGS_MATRIX_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense.h"
#include "solvers/kernels/kernels.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {

/// The limited-memory BFGS matrix in compact form,
///
///     B = θI - W·M·Wᵀ,   W = [θS Y],   M = [θSᵀS  L; Lᵀ  -D]⁻¹,
///
/// where the columns of S and Y are the k <= m latest pairs s = x₊ - x, y = g₊ - g, the oldest first, L is the part of
/// SᵀY below its diagonal, and D is that diagonal (R. H. Byrd, J. Nocedal, R. B. Schnabel, Math. Program. 63 (1994),
/// theorem 2.3). Vectors of length 2k have the order of W: k numbers of S, then k of Y.
///
/// With bounds, the matrix keeps every product of columns twice: over the free variables F, and over the active ones A.
class CompactBfgsMatrix {
 public:
  CompactBfgsMatrix(std::size_t n, std::size_t m, bool bounded, Storage storage = Storage::kFloat64);

  std::size_t size() const { return k_; }
  double theta() const { return theta_; }
  const Tiles& tiles() const { return tiles_; }
  /// The column with the search direction, which becomes the newest column of S.
  std::size_t direction_column() const { return direction_slot_; }
  /// The columns of S, then those of Y.
  Columns columns() const { return {column_ids_.data(), 2 * k_}; }
  /// The columns of S, the search direction, the columns of Y.
  Columns columns_with_direction() const { return {direction_ids_.data(), 2 * k_ + 1}; }
  std::int32_t s_column(std::size_t pair) const { return s_slots_[pair]; }
  std::int32_t y_column(std::size_t pair) const { return y_slots_[pair]; }

  /// B = I again.
  void reset();
  /// B = I again, and the search direction is zero: as new.
  void restart();

  /// Takes the pairs of another matrix with as many rows, or the m newest, as pairs over free variables. False if they
  /// are not finite or a product sᵀy is not positive; B is then I.
  bool take_pairs(const CompactBfgsMatrix& other);

  /// Makes the search direction the newest s, and drops the oldest pair if there are m. Returns the column for y.
  std::size_t begin_pair();
  /// Takes the products of columns_with_direction() with the direction d, over F and over A, from before begin_pair().
  /// s is scale·d. dropped: whether begin_pair() dropped a pair.
  void add_s_products(double scale, const double* free_dots, const double* active_dots, bool dropped);
  /// Takes sᵀy, as the line search measured it, yᵀy, and the products of columns() with the new y (over F).
  void finish_pair(double s_dot_y, double y_dot_y, const double* y_dots);

  /// Factorizes M of the present pairs. False if rounding makes the matrix to factorize not positive definite.
  bool factorize_middle();
  /// v = M·v. Call factorize_middle() first.
  void multiply_middle(double* v) const;
  /// The coefficients of -B⁻¹g = -g/θ + Σ coefficients·(S, Y), from (S, Y)ᵀg. All variables must be free.
  void newton_coefficients(const double* g_dots, double* coefficients) const;

  /// result += W_FᵀW_F·v
  void add_free_gram_product(const double* v, double* result) const;
  /// Factorizes the K of solve_subspace() for the present F. False if that breaks down.
  bool factorize_subspace();
  /// v = K⁻¹v with K = [θS_AᵀS_A  (L_A - R_F); (L_A - R_F)ᵀ  -D - Y_FᵀY_F/θ]. The inverse of B over the free variables
  /// is I/θ + W_F·K⁻¹·W_Fᵀ/θ² (J. L. Morales, J. Nocedal, ACM Trans. Math. Softw. 38 (2011), section 2).
  void solve_subspace(double* v) const;

  /// Row i of W.
  void row(std::size_t i, double* w) const;
  /// Moves variable i from A to F (if it enters), or from F to A.
  void update_free_set(std::size_t i, bool enters);
  /// All variables are free: makes the products over A exactly zero.
  void clear_active();

  /// Calls visit(pointer, bytes) for each piece of the state, to write or to read it.
  template <typename Visit>
  void visit_state(Visit&& visit);

 private:
  /// Throws std::invalid_argument if the pairs cannot have these columns.
  void check_columns() const;
  void renew_column_ids();
  void copy_pairs(const CompactBfgsMatrix& other);
  void multiply_pairs();
  double l(std::size_t i, std::size_t j) const { return sy_free_[i][j] + sy_active_[i][j]; }

  std::size_t n_;
  std::size_t m_;
  bool bounded_;
  std::size_t k_ = 0;
  double theta_ = 1;
  AlignedArray<std::byte> memory_;
  Tiles tiles_;
  std::vector<std::int32_t> s_slots_;  ///< Columns of S by age.
  std::vector<std::int32_t> y_slots_;
  std::size_t direction_slot_ = 0;
  std::vector<std::int32_t> column_ids_;
  std::vector<std::int32_t> direction_ids_;

  std::vector<double> d_;   ///< D.
  SquareMatrix sy_free_;    ///< S_FᵀY_F.
  SquareMatrix sy_active_;  ///< S_AᵀY_A, below the diagonal.
  SquareMatrix ss_free_;    ///< S_FᵀS_F.
  SquareMatrix ss_active_;  ///< S_AᵀS_A.
  SquareMatrix yy_free_;    ///< Y_FᵀY_F.
  SquareMatrix middle_;     ///< Cholesky factor of θSᵀS + L·D⁻¹·Lᵀ; like the next two, transposed.
  SquareMatrix k_yy_;       ///< C with C·Cᵀ = D + Y_FᵀY_F/θ.
  SquareMatrix k_ss_;       ///< J with J·Jᵀ = θS_AᵀS_A + V·Vᵀ, V = (L_A - R_F)·C⁻ᵀ.
  SquareMatrix k_v_;        ///< That V.
  std::vector<double> middle_reciprocals_, k_yy_reciprocals_, k_ss_reciprocals_;  ///< Of their diagonals.
  mutable std::vector<double> small_;                                             ///< [2m], for products.
};

template <typename Visit>
void CompactBfgsMatrix::visit_state(Visit&& visit) {
  visit_value(visit, k_);
  visit_value(visit, theta_);
  visit_value(visit, direction_slot_);
  visit_elements(visit, s_slots_);
  visit_elements(visit, y_slots_);
  check_columns();
  visit_elements(visit, d_);
  for (SquareMatrix* a : {&sy_free_, &sy_active_, &ss_free_, &ss_active_, &yy_free_}) {
    visit_elements(visit, a->elements());
  }
  renew_column_ids();
  const Columns used = columns_with_direction();
  for (std::size_t t = 0; t < num_tiles(n_); ++t) {
    for (std::size_t c = 0; c < used.count; ++c) {
      visit(tiles_.at(t, static_cast<std::size_t>(used.ids[c])), tiles_.tile_bytes());
    }
  }
}

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LBFGSB_COMPACT_BFGS_MATRIX_H_
