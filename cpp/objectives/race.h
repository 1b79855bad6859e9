#ifndef TFMINIMIZE_OBJECTIVES_RACE_H_
#define TFMINIMIZE_OBJECTIVES_RACE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>
#include <vector>

namespace tfminimize {

/// What a caller wants from an evaluation.
enum class Wanted { kBoth, kValues, kDerivatives };

/// Finds the fastest of several ways to evaluate the same functions. Many objectives in many threads share it.
///
/// A way can join at any time. It is first checked: somebody evaluates it at a point where another way has been
/// evaluated too, and says whether the results agree. Then the ways take turns. One that is clearly slower is out at
/// once; of the others, the one with the shortest time wins, since other work on the machine can only add to it. Each
/// event has a winner of its own: values alone, or an evaluation in one of many threads, may go faster another way.
class Race {
 public:
  static constexpr std::size_t kMostWays = 8;

  /// The number of an event.
  static constexpr std::size_t event(Wanted wanted, bool in_batch) {
    return static_cast<std::size_t>(wanted) + (in_batch ? kWanted : 0);
  }

  /// What an objective does next.
  struct Turn {
    std::size_t way = 0;
    std::optional<std::size_t> newcomer;  ///< To be evaluated at the same point, and judged.
  };

  /// What is known about an event.
  struct Report {
    std::size_t way = 0;  ///< The fastest so far.
    bool is_settled = false;
    std::vector<double> seconds;  ///< The shortest time of each way; infinite for one that was not timed.
  };

  enum class Verdict { kAgrees, kDiffers, kUndecided };

  /// The way that has won an event; negative while there is none.
  int winner(std::size_t event) const { return winners_[event].load(std::memory_order_acquire); }

  /// A way joins. Returns its number. The first one needs no check. Throws std::length_error if there are too many.
  std::size_t add();
  std::size_t size() const { return size_.load(std::memory_order_acquire); }

  /// Which of the ways in the mask `usable` an objective takes next.
  Turn turn(std::size_t event, std::uint32_t usable);
  /// Notes the time of a way.
  void record(std::size_t event, std::size_t way, double seconds);
  /// Says how a newcomer has done; after a few differences it is out.
  void judge(std::size_t newcomer, Verdict verdict);
  /// Takes a way out of the race.
  void refuse(std::size_t way);
  bool is_refused(std::size_t way) const;

  /// The ways that an objective may need next, as a mask.
  std::uint32_t needed(bool in_batch) const;
  /// About the event that has taken most time, in batches or outside.
  Report report(bool in_batch) const;

  /// The race is due for attention once evaluations have taken so many seconds in all; at first, after the first one.
  void wait(double seconds);
  /// It is due now, from any thread.
  void call() { is_due_.store(true, std::memory_order_release); }
  bool is_due() const { return is_due_.load(std::memory_order_acquire); }
  /// It has got attention; it waits for none until wait() or call().
  void attended();
  /// Of all evaluations that were timed.
  double seconds() const;

 private:
  static constexpr std::size_t kWanted = 3;
  static constexpr std::size_t kEvents = 2 * kWanted;
  static constexpr int kNobody = -1;

  struct Contender {
    std::int64_t count = 0;
    double total = 0;
    double best = std::numeric_limits<double>::infinity();
    bool is_lost = false;

    bool is_timed() const;
  };
  struct Event {
    bool is_seen = false;
    std::array<Contender, kMostWays> contenders;
    std::size_t present = 0;  ///< Whose turn it is.
    int in_a_row = 0;
    double total = 0;
  };
  struct Way {
    bool is_checked = false;
    bool is_refused = false;
    bool is_being_checked = false;
    int doubts = 0;
  };

  bool runs(const Event& event, std::size_t way) const;
  std::size_t leader(const Event& event, std::uint32_t usable) const;
  std::optional<std::size_t> newcomer(std::uint32_t usable);
  std::optional<std::size_t> untimed(const Event& event, std::uint32_t usable) const;
  void drop_the_slow(Event& event) const;
  void settle(std::size_t event);
  void settle_all();

  mutable std::mutex mutex_;  ///< Guards all that is not atomic.
  std::vector<Way> ways_;
  std::array<Event, kEvents> events_;
  double seconds_ = 0;
  double wait_ = 0;
  bool is_waiting_ = true;
  std::atomic<std::size_t> size_{0};
  std::atomic<bool> is_due_{false};
  std::array<std::atomic<int>, kEvents> winners_{kNobody, kNobody, kNobody, kNobody, kNobody, kNobody};
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_RACE_H_
