#ifndef TFMINIMIZE_SOLVERS_BFGS_BFGS_UPDATE_H_
#define TFMINIMIZE_SOLVERS_BFGS_BFGS_UPDATE_H_

#include <cstddef>
#include <optional>
#include <string_view>

namespace tfminimize::solvers {

/// A member of the self-scaled Broyden family,
///
///     H₊ = (1/τ)·[H - uuᵀ/q + φ·q·vvᵀ] + ssᵀ/(sᵀy),   u = Hy,   q = yᵀu,   v = s/(sᵀy) - u/q.
///
/// The scaled ones: M. Al-Baali, "Numerical experience with a class of self-scaling quasi-Newton algorithms", J. Optim.
/// Theory Appl. 96 (1998), 533-553; M. Al-Baali, H. Khalfan, "A wide interval for efficient self-scaling quasi-Newton
/// algorithms", Optim. Methods Softw. 20 (2005), 679-691.
enum class BfgsUpdate {
  kBfgs,                  ///< φ = 1, τ = 1.
  kDfp,                   ///< φ = 0, τ = 1.
  kSsbfgs,                ///< φ = 1, τ = min(1, sᵀy/sᵀBs).
  kSsbfgsOrenLuenberger,  ///< φ = 1, τ = sᵀy/sᵀBs.
  kSsbroyden,             ///< φ and τ of Al-Baali and Khalfan, with θ as near to (1 - b)/b as they allow.
  kSsbroydenSr1,          ///< The same, with θ as near to that of the symmetric rank-one update.
};

inline constexpr BfgsUpdate kLastBfgsUpdate = BfgsUpdate::kSsbroydenSr1;

/// The update of this name, such as "ssbroyden"; nothing for any other text.
std::optional<BfgsUpdate> bfgs_update_named(std::string_view name);

/// H₊ = h·H + uu·uuᵀ + us·(usᵀ + suᵀ) + ss·ssᵀ
struct UpdateCoefficients {
  double h = 1;
  double uu = 0;
  double us = 0;
  double ss = 0;
};

/// What an update depends on. B is the inverse of H.
struct CurvaturePair {
  double sy = 0;   ///< sᵀy
  double sBs = 0;  ///< sᵀBs
  double yHy = 0;  ///< yᵀHy
  std::size_t n = 0;
};

/// The update with a pair; nothing if it would not be positive definite. scales_identity: H is a multiple of
/// the identity, and is to be scaled first.
std::optional<UpdateCoefficients> update_coefficients(BfgsUpdate update, const CurvaturePair& pair,
                                                      bool scales_identity);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_BFGS_BFGS_UPDATE_H_
