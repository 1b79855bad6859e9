#include "objectives/race.h"

#include <algorithm>
#include <stdexcept>

namespace tfminimize {
namespace {

/// A way that takes so many times as long as the best one has lost.
constexpr double kClearly = 2;
/// But its first evaluation finds caches, pages and threads cold.
constexpr double kCold = 5e-3;

/// The evaluations after which the shortest time of a way counts: fewer if they are long, since noise matters less.
constexpr std::int64_t kFewest = 4;
constexpr std::int64_t kEnough = 30;
constexpr double kLong = 50e-3;

/// A way is called so often before the next one's turn: its own work, not that of another, is then in the caches.
constexpr int kInARow = 2;

/// A newcomer is out after five points where it differs, since rounding may decide all digits near a minimum; or after
/// twenty where nothing can be said.
constexpr int kMostDoubts = 20;
constexpr int kDifference = 4;

constexpr std::uint32_t bit(std::size_t way) { return std::uint32_t{1} << way; }

}  // namespace

bool Race::Contender::is_timed() const { return count >= kEnough || (count >= kFewest && total >= kLong); }

std::size_t Race::add() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ways_.size() == kMostWays) throw std::length_error("There are too many ways in a race.");
  ways_.emplace_back();
  ways_.back().is_checked = ways_.size() == 1;
  for (std::size_t i = 0; i < kEvents; ++i) {
    winners_[i].store(kNobody, std::memory_order_release);
    for (Contender& one : events_[i].contenders) {
      if (!one.is_lost) one = {};  // all start again, under the same conditions
    }
  }
  size_.store(ways_.size(), std::memory_order_release);
  return ways_.size() - 1;
}

/// Whether a way is still in the race for an event.
bool Race::runs(const Event& event, std::size_t way) const {
  return ways_[way].is_checked && !ways_[way].is_refused && !event.contenders[way].is_lost;
}

/// The usable way with the shortest time, or the first one that runs if none was timed.
std::size_t Race::leader(const Event& event, std::uint32_t usable) const {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    if ((usable & bit(i)) == 0 || !ways_[i].is_checked || ways_[i].is_refused) continue;
    if (!best || event.contenders[i].best < event.contenders[*best].best) best = i;
  }
  return best.value_or(0);
}

/// A newcomer that this objective may check now; it is then this objective's to judge.
std::optional<std::size_t> Race::newcomer(std::uint32_t usable) {
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    Way& way = ways_[i];
    if ((usable & bit(i)) == 0 || way.is_checked || way.is_refused || way.is_being_checked) continue;
    way.is_being_checked = true;
    return i;
  }
  return {};
}

/// The next way that is still to be timed.
std::optional<std::size_t> Race::untimed(const Event& event, std::uint32_t usable) const {
  const auto is_wanted = [&](std::size_t way) {
    return (usable & bit(way)) != 0 && runs(event, way) && !event.contenders[way].is_timed();
  };
  if (event.in_a_row < kInARow && is_wanted(event.present)) return event.present;
  for (std::size_t k = 1; k <= ways_.size(); ++k) {
    const std::size_t way = (event.present + k) % ways_.size();
    if (is_wanted(way)) return way;
  }
  return {};
}

Race::Turn Race::turn(std::size_t event, std::uint32_t usable) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Event& now = events_[event];
  now.is_seen = true;
  Turn turn;
  if (event % kWanted != static_cast<std::size_t>(Wanted::kDerivatives)) turn.newcomer = newcomer(usable);
  const std::optional<std::size_t> next = turn.newcomer ? std::nullopt : untimed(now, usable);
  turn.way = next ? *next : leader(now, usable);
  now.in_a_row = turn.way == now.present ? now.in_a_row + 1 : 1;
  now.present = turn.way;
  return turn;
}

void Race::record(std::size_t event, std::size_t way, double seconds) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Event& now = events_[event];
  Contender& one = now.contenders[way];
  ++one.count;
  one.total += seconds;
  one.best = std::min(one.best, seconds);
  now.total += seconds;
  seconds_ += seconds;
  if (is_waiting_ && seconds_ >= wait_) call();
  drop_the_slow(now);
  settle(event);
}

void Race::drop_the_slow(Event& event) const {
  double best = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    if (runs(event, i)) best = std::min(best, event.contenders[i].best);
  }
  for (Contender& one : event.contenders) {
    if (one.count > 0 && one.best > kClearly * best + (one.count == 1 ? kCold : 0)) one.is_lost = true;
  }
}

/// Declares the winner of an event, if it is known and nobody else is expected.
void Race::settle(std::size_t event) {
  const Event& now = events_[event];
  int winner = kNobody;
  std::size_t running = 0;
  bool are_timed = true;
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    if (!ways_[i].is_checked && !ways_[i].is_refused) return;
    if (!runs(now, i)) continue;
    ++running;
    are_timed = are_timed && now.contenders[i].is_timed();
    if (winner == kNobody || now.contenders[i].best < now.contenders[winner].best) winner = static_cast<int>(i);
  }
  if (!is_waiting_ && (are_timed || running == 1)) winners_[event].store(winner, std::memory_order_release);
}

void Race::settle_all() {
  for (std::size_t i = 0; i < kEvents; ++i) settle(i);
}

void Race::judge(std::size_t newcomer, Verdict verdict) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Way& way = ways_[newcomer];
  way.is_being_checked = false;
  way.is_checked = verdict == Verdict::kAgrees;
  way.doubts += verdict == Verdict::kDiffers ? kDifference : 1;
  way.is_refused = way.is_refused || (!way.is_checked && way.doubts >= kMostDoubts);
  settle_all();
}

void Race::refuse(std::size_t way) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ways_.at(way).is_refused = true;
  settle_all();
}

bool Race::is_refused(std::size_t way) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ways_.at(way).is_refused;
}

std::uint32_t Race::needed(bool in_batch) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::uint32_t winners = 0;
  std::uint32_t all = 0;
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    if (!ways_[i].is_refused) all |= bit(i);
  }
  for (std::size_t i = event(Wanted::kBoth, in_batch); i <= event(Wanted::kDerivatives, in_batch); ++i) {
    if (!events_[i].is_seen) continue;
    if (winner(i) == kNobody) return all;
    winners |= bit(static_cast<std::size_t>(winner(i)));
  }
  return winners == 0 ? all : winners;
}

Race::Report Race::report(bool in_batch) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::size_t most = event(Wanted::kBoth, in_batch);
  for (std::size_t i = most; i <= event(Wanted::kDerivatives, in_batch); ++i) {
    if (events_[i].total > events_[most].total) most = i;
  }
  Report report;
  report.is_settled = winner(most) != kNobody;
  report.way = report.is_settled ? static_cast<std::size_t>(winner(most)) : leader(events_[most], ~std::uint32_t{0});
  for (std::size_t i = 0; i < ways_.size(); ++i) report.seconds.push_back(events_[most].contenders[i].best);
  return report;
}

void Race::wait(double seconds) {
  const std::lock_guard<std::mutex> lock(mutex_);
  wait_ = seconds;
  is_waiting_ = true;
  for (auto& winner : winners_) winner.store(kNobody, std::memory_order_release);
  if (seconds_ >= wait_) call();
}

void Race::attended() {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_due_.store(false, std::memory_order_release);
  is_waiting_ = false;
  settle_all();
}

double Race::seconds() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return seconds_;
}

}  // namespace tfminimize
