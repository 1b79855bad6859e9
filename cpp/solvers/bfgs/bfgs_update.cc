#include "solvers/bfgs/bfgs_update.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace tfminimize::solvers {
namespace {

constexpr std::pair<std::string_view, BfgsUpdate> kNames[] = {
    {"bfgs", BfgsUpdate::kBfgs},           {"dfp", BfgsUpdate::kDfp},
    {"ssbfgs", BfgsUpdate::kSsbfgs},       {"ssbfgs-ol", BfgsUpdate::kSsbfgsOrenLuenberger},
    {"ssbroyden", BfgsUpdate::kSsbroyden}, {"ssbroyden1", BfgsUpdate::kSsbroydenSr1},
};

/// Which member of the family.
struct Member {
  double phi = 1;
  double tau = 1;
};

/// The self-scaled Broyden update. b = sᵀBs/sᵀy, h = yᵀHy/sᵀy, a = b·h - 1 > 0.
Member self_scaled_broyden(BfgsUpdate update, double b, double h, double a, std::size_t n, bool scales_identity) {
  const double c = std::sqrt(a / (1 + a));
  const double rho_minus = std::min(1.0, h * (1 - c));
  const double lower = (rho_minus - 1) / a;
  double theta = 0;
  if (update == BfgsUpdate::kSsbroyden) {
    theta = std::max(lower, std::min(1 / rho_minus, (1 - b) / b));
  } else if (b == 1) {
    theta = lower;
  } else {
    const double sr1 = 1 / (1 - b);
    theta = b > 1 ? std::max(lower, sr1) : std::min(std::max(1.0, b * (1 + c)), sr1);
  }
  Member member;
  const double sigma = 1 + a * theta;
  member.phi = (1 - theta) / sigma;
  if (scales_identity) {
    member.tau = h / sigma;
  } else if (n > 1) {
    const double rho = std::min(1.0, 1 / b);
    const double power = std::pow(std::abs(sigma), 1 / (1 - static_cast<double>(n)));
    member.tau = theta <= 0 ? std::min(rho * power, sigma) : rho * std::min(power, 1 / theta);
  }
  return member;
}

Member member_of(BfgsUpdate update, const CurvaturePair& pair, bool scales_identity) {
  const double b = pair.sBs / pair.sy;
  const double h = pair.yHy / pair.sy;
  const double a = b * h - 1;
  const bool is_broyden = update == BfgsUpdate::kSsbroyden || update == BfgsUpdate::kSsbroydenSr1;
  // With a = 0, s and Hy are parallel, and all members make the same of H; without its scaling, that is BFGS.
  if (is_broyden && a > 0) return self_scaled_broyden(update, b, h, a, pair.n, scales_identity);
  Member member;
  if (update == BfgsUpdate::kDfp) member.phi = 0;
  if (scales_identity) {
    member.tau = h;
  } else if (pair.n > 1) {
    if (update == BfgsUpdate::kSsbfgs) member.tau = std::min(1.0, 1 / b);
    if (update == BfgsUpdate::kSsbfgsOrenLuenberger) member.tau = 1 / b;
  }
  return member;
}

}  // namespace

std::optional<BfgsUpdate> bfgs_update_named(std::string_view name) {
  for (const auto& [known, update] : kNames) {
    if (name == known) return update;
  }
  return std::nullopt;
}

std::optional<UpdateCoefficients> update_coefficients(BfgsUpdate update, const CurvaturePair& pair,
                                                      bool scales_identity) {
  if (!(pair.sy > 0) || !(pair.yHy > 0) || !(pair.sBs > 0)) return std::nullopt;
  const Member member = member_of(update, pair, scales_identity);
  UpdateCoefficients c;
  c.h = 1 / member.tau;
  c.uu = c.h * (member.phi - 1) / pair.yHy;
  c.us = -c.h * member.phi / pair.sy;
  c.ss = (c.h * member.phi * (pair.yHy / pair.sy) + 1) / pair.sy;
  const bool is_finite = std::isfinite(c.uu) && std::isfinite(c.us) && std::isfinite(c.ss);
  if (!(member.tau > 0) || !is_finite || !std::isfinite(c.h)) return std::nullopt;
  return c;
}

}  // namespace tfminimize::solvers
