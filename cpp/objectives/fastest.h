#ifndef TFMINIMIZE_OBJECTIVES_FASTEST_H_
#define TFMINIMIZE_OBJECTIVES_FASTEST_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "objectives/batched_input.h"
#include "objectives/objective.h"
#include "objectives/race.h"
#include "solvers/span.h"

namespace tfminimize {

/// Evaluates the fastest way. The ways are objectives of the same functions, on the same memory. While their race is
/// open, each evaluation is a turn in it, so no evaluation is wasted except one for each newcomer, which is checked.
class Fastest final : public Objective {
 public:
  /// Results of two ways agree if they differ by `tolerance`, relative to the largest of them, or of those at the first
  /// point.
  Fastest(std::shared_ptr<Race> race, double tolerance) : race_(std::move(race)), tolerance_(tolerance) {}

  /// Forgets all ways. Only between two evaluations.
  void clear();

  /// Way number `way` of the race can be used from the next evaluation on. Its inputs begin with `first_input`
  /// components; the positions of batched inputs count from the next one. It must outlive its use. One thread at a time
  /// may add, also while another evaluates.
  void add(std::size_t way, Objective& objective, std::size_t first_input);

  /// The way that the last evaluation has taken.
  std::size_t last() const { return last_; }

  double evaluate(Span<const double> x, const Buffers& to) override { return take<Wanted::kBoth>(x, to); }
  double values(Span<const double> x, const Buffers& to) override { return take<Wanted::kValues>(x, to); }
  void derivatives(Span<const double> x, const Buffers& to) override { take<Wanted::kDerivatives>(x, to); }
  bool is_joint() const override { return true; }

  Span<const double> sums() const override {
    const Objective* last = ways_[last_].objective.load(std::memory_order_relaxed);
    return last == nullptr ? Span<const double>() : last->sums();
  }

  void cancel() override;
  void set_deadline(std::chrono::steady_clock::time_point deadline) override;
  void begin_batch(const std::vector<BatchedInput>& inputs) override;
  void select(std::size_t problem) override { problem_ = problem; }
  void end_batch() override;

 private:
  static constexpr std::size_t kNoProblem = ~std::size_t{0};

  /// The largest absolute values of some results.
  struct Sizes {
    double f = 0;
    double gradient = 0;
    double constraints = 0;
  };
  struct Way {
    std::atomic<Objective*> objective{nullptr};  ///< Null for one that cannot be used.
    std::size_t first_input = 0;
    std::size_t problem = kNoProblem;  ///< That it has selected.
  };

  template <Wanted wanted>
  double take(Span<const double> x, const Buffers& to) {
    const int winner = race_->winner(Race::event(wanted, in_batch_));
    if (winner >= 0 && is_ready(static_cast<std::size_t>(winner))) {
      return call<wanted>(static_cast<std::size_t>(winner), x, to);
    }
    return take_turn<wanted>(x, to);
  }
  template <Wanted wanted>
  double call(std::size_t way, Span<const double> x, const Buffers& to) {
    last_ = way;
    if (in_batch_ && ways_[way].problem != problem_) select_problem(way);
    Objective& objective = *ways_[way].objective.load(std::memory_order_relaxed);
    if constexpr (wanted == Wanted::kBoth) return objective.evaluate(x, to);
    if constexpr (wanted == Wanted::kValues) return objective.values(x, to);
    objective.derivatives(x, to);
    return 0;
  }
  template <Wanted wanted>
  double take_turn(Span<const double> x, const Buffers& to);
  template <Wanted wanted>
  double call_timed(std::size_t way, Span<const double> x, const Buffers& to);
  template <Wanted wanted>
  double check(std::size_t newcomer, std::size_t way, double f, Span<const double> x, const Buffers& to);
  Race::Verdict compare(const std::vector<double>& known, Span<const double> found, double scale) const;

  bool is_ready(std::size_t way) const { return (ready_ >> way & 1) != 0; }
  void select_problem(std::size_t way);
  void prepare();
  std::vector<BatchedInput> inputs_of(std::size_t way) const;

  std::shared_ptr<Race> race_;
  const double tolerance_;
  std::array<Way, Race::kMostWays> ways_;
  std::uint32_t ready_ = 0;  ///< The ways that are prepared for an evaluation, as a mask.
  std::size_t last_ = 0;

  // For ways that are added later.
  std::chrono::steady_clock::time_point deadline_ = kNever;
  bool in_batch_ = false;
  std::vector<BatchedInput> inputs_;
  std::size_t problem_ = kNoProblem;

  bool has_first_ = false;
  Sizes first_;  ///< At the first point.
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_FASTEST_H_
