#ifndef TFMINIMIZE_TFE_FASTER_WAY_H_
#define TFMINIMIZE_TFE_FASTER_WAY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace tfminimize::tfe {

/// Finds the faster of two ways to do the same work. It times both a few times each, and again after a while.
///
/// The shortest time of each way counts, since other work on the machine can only add to it. Each new race gives
/// earlier times less weight, since the work may have changed.
///
///     work:  0 1 0 1 0 1 0 1 | w w w w w w ... (kPeriod times the winner) | 0 1 0 1 0 1 0 1 | ...
///            ^-^ not counted, since first calls build things and caches are cold
class FasterWay {
 public:
  /// Which way to take next.
  std::size_t choice() const { return running() ? round_ % 2 : winner_; }

  /// Whether record() needs the time of the next call.
  bool running() const { return round_ < kRounds; }

  /// The faster way in the last complete race; before any race, the first way.
  std::size_t winner() const { return winner_; }

  /// Call it after the work, with the time that it took if running().
  void record(double seconds) {
    if (running()) {
      double& best = best_[round_ % 2];
      if (round_ >= kUncounted && seconds < best) best = seconds;
      if (++round_ == kRounds) winner_ = best_[1] < best_[0] ? 1 : 0;
    } else if (++round_ == kRounds + kPeriod) {
      round_ = 0;
      for (double& best : best_) best *= kForgetting;
    }
  }

 private:
  static constexpr std::int64_t kUncounted = 2;
  static constexpr std::int64_t kRounds = 8;
  static constexpr std::int64_t kPeriod = 1000;
  static constexpr double kForgetting = 1.1;

  std::int64_t round_ = 0;
  std::size_t winner_ = 0;
  std::array<double, 2> best_{std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
};

}  // namespace tfminimize::tfe

#endif  // TFMINIMIZE_TFE_FASTER_WAY_H_
