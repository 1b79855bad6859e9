#include "objectives/reduced.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "solvers/padding.h"

namespace tfminimize {
namespace {

/// What all processes tell each other in every round. Each number is a small integer, so the sums are exact.
enum Tail : std::size_t { kLate, kStop, kFailed, kDigests, kTail = kDigests + 4 };

/// Two numbers of 18 bits from the bits of x: for 2^13 processes, the sum of their squares is still exact.
std::array<double, 2> digest(Span<const double> x) {
  std::uint64_t hash = 0x9e3779b97f4a7c15;
  for (const double& value : x) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    hash = (hash ^ bits) * 0xff51afd7ed558ccd;
    hash ^= hash >> 32;
  }
  constexpr std::uint64_t kMask = (1U << 18) - 1;
  return {static_cast<double>(hash & kMask), static_cast<double>(hash >> 18 & kMask)};
}

void copy(Span<const double> from, Span<double> to) { std::copy(from.begin(), from.end(), to.begin()); }

void scale(Span<double> values, double factor) {
  std::transform(values.begin(), values.end(), values.begin(), [=](double value) { return factor * value; });
}

}  // namespace

/// The vector of a round:
///
///     [ gradient, padded | Jacobian | constraints | sums | f | rows | tail ]
///
/// The objective of this process writes into it, so that a round that fails leaves the solver's memory alone.
struct Reduced::Parts {
  Parts(double* start, const Buffers& solvers, Span<const double> all_sums, bool values, bool derivatives) {
    double* at = start;
    const auto take = [&](bool is_wanted, Span<const double> like) {
      const Span<double> part{at, is_wanted ? like.size() : 0};
      at += part.size();
      return part;
    };
    own.gradient = take(derivatives, solvers.gradient);
    at = start + solvers::padded(own.gradient.size());
    own.jacobian = take(derivatives, solvers.jacobian);
    own.constraints = take(values, solvers.constraints);
    own.stride = solvers.stride;
    sums = take(values, all_sums);
    f = at++;
    rows = at++;
    vector = {start, static_cast<std::size_t>(at - start) + kTail};
  }

  Buffers own;
  Span<double> sums;
  double* f;
  double* rows;
  Span<double> vector;  ///< All of it.
};

Reduced::Reduced(Objective& inner, const Share& share, Sum sum, Poll poll)
    : inner_(inner), share_(share), sum_(std::move(sum)), poll_(std::move(poll)), sums_(share.num_sums) {
  if (share.rank >= share.size || share.size > (1U << 13)) {
    throw std::invalid_argument("This is process " + std::to_string(share.rank) + " of " + std::to_string(share.size) +
                                "; there may be 8192, numbered from 0.");
  }
}

double Reduced::reduce(Span<const double> x, const Buffers& to, bool has_values, bool has_derivatives) {
  const std::size_t most =
      solvers::padded(to.gradient.size()) + to.jacobian.size() + to.constraints.size() + sums_.size() + 2 + kTail;
  if (buffer_.size() < most) buffer_ = solvers::AlignedArray<double>(most);
  const Parts parts(buffer_.data(), to, sums(), has_values, has_derivatives);
  is_late_ = is_late_ || (deadline_ != kNever && std::chrono::steady_clock::now() >= deadline_);
  const bool is_over = error_ || is_late_ || (wishes_to_stop_ && has_values);
  // An empty share of a mean adds nothing, so it is left out: its loss may be anything.
  const bool is_empty = share_.is_mean && !share_.counts_rows && share_.rows == 0;
  const bool gives_constraints = share_.rank == 0 && parts.own.constraints.size() + parts.own.jacobian.size() > 0;
  std::fill(parts.vector.begin(), parts.vector.end(), 0.0);
  if (!is_over && (!is_empty || gives_constraints)) {
    if (gives_constraints) {  // the rows of linear constraints are there already
      if (has_values) copy(to.constraints, parts.own.constraints);
      if (has_derivatives) copy(to.jacobian, parts.own.jacobian);
    }
    *parts.f = evaluate_own(x, parts.own, has_values, has_derivatives);
    if (error_ || is_late_) {
      std::fill(parts.vector.begin(), parts.vector.end(), 0.0);
    } else {
      weigh(parts);
    }
  }
  exchange(parts.vector, x, has_values);
  return take(parts, to, has_values, has_derivatives);
}

/// The loss of this process. An error and a deadline are noted for the round.
double Reduced::evaluate_own(Span<const double> x, const Buffers& to, bool has_values, bool has_derivatives) {
  double f = 0;
  std::exception_ptr error = exception_of([&] {
    try {
      if (has_values && has_derivatives) {
        f = inner_.evaluate(x, to);
      } else if (has_values) {
        f = inner_.values(x, to);
      } else {
        inner_.derivatives(x, to);
      }
    } catch (const DeadlinePassed&) {
      is_late_ = true;
    }
  });
  if (error) {
    if (poll_) attempt(poll_);  // an interrupt that has cancelled the evaluation is the error to tell
    fail(std::move(error));
  }
  return f;
}

/// Makes an evaluation what this process adds to the sum.
void Reduced::weigh(const Parts& parts) const {
  const double rows = share_.counts_rows ? inner_.sums()[inner_.sums().size() - 1] : share_.rows;
  const double weight = share_.is_mean ? rows : 1;
  *parts.rows = rows;
  if (weight == 0) {
    std::fill(parts.own.gradient.begin(), parts.own.gradient.end(), 0.0);
    *parts.f = 0;
  } else {
    const std::size_t own_sums = std::min(inner_.sums().size(), parts.sums.size());  // none in an empty share
    copy({inner_.sums().data(), own_sums}, parts.sums);
    if (weight != 1) scale(parts.own.gradient, weight);
    *parts.f *= weight;
  }
  if (share_.rank == 0) return;
  std::fill(parts.own.jacobian.begin(), parts.own.constraints.end(), 0.0);
}

/// Gives the solver the sum.
double Reduced::take(const Parts& parts, const Buffers& to, bool has_values, bool has_derivatives) {
  if (*parts.rows == 0) {
    note_failure();
    throw std::invalid_argument("The data have no rows in any process: give at least one.");
  }
  const double divisor = share_.is_mean ? *parts.rows : 1;
  if (has_derivatives) {
    std::transform(parts.own.gradient.begin(), parts.own.gradient.end(), to.gradient.begin(),
                   [=](double sum) { return sum / divisor; });
    copy(parts.own.jacobian, to.jacobian);
  }
  if (has_values) {
    copy(parts.own.constraints, to.constraints);
    copy(parts.sums, sums_);
  }
  return *parts.f / divisor;
}

void Reduced::agree(Span<const double> x) { add_up({}, x); }

void Reduced::add_up(Span<double> vector, Span<const double> x) {
  std::vector<double> buffer(vector.size() + kTail);
  if (!error_) copy(vector, buffer);
  exchange(buffer, x, false);
  copy({buffer.data(), vector.size()}, vector);
}

void Reduced::conclude(Span<const double> x) {
  agree(x);
  has_ended_ = true;
}

/// Adds up a vector, and throws what its tail says.
void Reduced::exchange(Span<double> vector, Span<const double> x, bool takes_stop) {
  double* const tail = vector.end() - kTail;
  tail[kLate] = is_late_ ? 1 : 0;
  tail[kStop] = wishes_to_stop_ && takes_stop ? 1 : 0;
  tail[kFailed] = error_ ? 1 : 0;
  double* at = tail + kDigests;
  for (const double one : digest(x)) {
    *at++ = one;
    *at++ = one * one;
  }
  sum_(vector);
  if (tail[kFailed] > 0) {
    note_failure();
    if (std::exception_ptr error = std::exchange(error_, nullptr)) std::rethrow_exception(error);
    throw PeerFailed();
  }
  const auto count = static_cast<std::int64_t>(share_.size);
  for (at = tail + kDigests; at < tail + kTail; at += 2) {
    const auto sum = static_cast<std::int64_t>(at[0]);
    const auto squares = static_cast<std::int64_t>(at[1]);
    if (sum * sum == count * squares) continue;  // the variance of the digests is zero
    note_failure();
    throw ProcessesParted(
        "The processes are no longer at the same x: one has got other bits than another from a reduction or from its "
        "own solver. Let all run the same version of tfminimize.");
  }
  is_late_ = false;
  if (tail[kStop] > 0) {
    wishes_to_stop_ = false;
    throw StopWished();
  }
  if (tail[kLate] > 0) throw DeadlinePassed();
}

}  // namespace tfminimize
