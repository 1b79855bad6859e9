#include "objectives/fastest.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <list>
#include <utility>

namespace tfminimize {
namespace {

using Seconds = std::chrono::duration<double>;

/// The largest absolute value; NaN if there is one.
double size_of(Span<const double> values) {
  double largest = 0;
  for (const double value : values) {
    if (std::isnan(value)) return value;
    largest = std::max(largest, std::abs(value));
  }
  return largest;
}

std::vector<double> copy(Span<const double> values) { return {values.begin(), values.end()}; }

}  // namespace

void Fastest::clear() {
  for (Way& way : ways_) {
    way.objective.store(nullptr, std::memory_order_relaxed);
    way.problem = kNoProblem;
  }
  ready_ = 0;
  deadline_ = kNever;
  has_first_ = false;
}

void Fastest::add(std::size_t way, Objective& objective, std::size_t first_input) {
  ways_.at(way).first_input = first_input;
  ways_[way].objective.store(&objective, std::memory_order_release);
}

void Fastest::cancel() {
  for (const Way& way : ways_) {
    if (Objective* objective = way.objective.load(std::memory_order_acquire)) objective->cancel();
  }
}

void Fastest::set_deadline(std::chrono::steady_clock::time_point deadline) {
  deadline_ = deadline;
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    if (is_ready(i)) ways_[i].objective.load()->set_deadline(deadline);
  }
}

/// The batched inputs, where this way has them.
std::vector<BatchedInput> Fastest::inputs_of(std::size_t way) const {
  std::vector<BatchedInput> inputs = inputs_;
  for (BatchedInput& input : inputs) input.position += ways_[way].first_input;
  return inputs;
}

void Fastest::begin_batch(const std::vector<BatchedInput>& inputs) {
  prepare();
  inputs_ = inputs;
  std::list<BatchScope<Objective>> begun;  // if one refuses, these end the batches of the others
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    if (is_ready(i)) begun.emplace_back(*ways_[i].objective.load(), inputs_of(i));
    ways_[i].problem = kNoProblem;
  }
  for (BatchScope<Objective>& batch : begun) batch.keep();
  in_batch_ = true;
}

void Fastest::end_batch() {
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    if (is_ready(i)) ways_[i].objective.load()->end_batch();
  }
  in_batch_ = false;
  inputs_.clear();
}

void Fastest::select_problem(std::size_t way) {
  ways_[way].objective.load()->select(problem_);
  ways_[way].problem = problem_;
}

/// Prepares the ways that were added since the last evaluation.
void Fastest::prepare() {
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    Objective* const objective = ways_[i].objective.load(std::memory_order_acquire);
    if (objective == nullptr || is_ready(i)) continue;
    if (in_batch_) objective->begin_batch(inputs_of(i));
    if (deadline_ != kNever) objective->set_deadline(deadline_);
    ready_ |= std::uint32_t{1} << i;
  }
}

template <Wanted wanted>
double Fastest::call_timed(std::size_t way, Span<const double> x, const Buffers& to) {
  const auto start = std::chrono::steady_clock::now();
  const double f = call<wanted>(way, x, to);
  race_->record(Race::event(wanted, in_batch_), way, Seconds(std::chrono::steady_clock::now() - start).count());
  return f;
}

/// One evaluation while the race is open.
template <Wanted wanted>
double Fastest::take_turn(Span<const double> x, const Buffers& to) {
  prepare();
  const Race::Turn turn = race_->turn(Race::event(wanted, in_batch_), ready_);
  try {
    const double f = call_timed<wanted>(turn.way, x, to);
    if (!has_first_ && wanted != Wanted::kDerivatives) {
      first_ = {std::abs(f), wanted == Wanted::kBoth ? size_of(to.gradient) : 0, size_of(to.constraints)};
      has_first_ = true;
    }
    return turn.newcomer ? check<wanted>(*turn.newcomer, turn.way, f, x, to) : f;
  } catch (...) {
    if (turn.newcomer) race_->judge(*turn.newcomer, Race::Verdict::kUndecided);
    throw;
  }
}

/// Evaluates a newcomer where `way` has just found f, and returns f. The buffers hold the results of the newcomer if
/// they agree, else those of `way`.
template <Wanted wanted>
double Fastest::check(std::size_t newcomer, std::size_t way, double f, Span<const double> x, const Buffers& to) {
  constexpr bool has_gradient = wanted == Wanted::kBoth;
  const std::vector<double> gradient = has_gradient ? copy(to.gradient) : std::vector<double>();
  const std::vector<double> constraints = copy(to.constraints);
  auto verdict = Race::Verdict::kDiffers;  // also if it throws
  double found = 0;
  try {
    found = call_timed<wanted>(newcomer, x, to);
    verdict = compare({f}, {&found, 1}, first_.f);
    if (verdict == Race::Verdict::kAgrees && has_gradient) verdict = compare(gradient, to.gradient, first_.gradient);
    if (verdict == Race::Verdict::kAgrees) verdict = compare(constraints, to.constraints, first_.constraints);
  } catch (...) {  // NOLINT(bugprone-empty-catch): the way that is known evaluates again, and throws if it must
  }
  race_->judge(newcomer, verdict);
  return verdict == Race::Verdict::kAgrees ? found : call<wanted>(way, x, to);
}

/// Compares results of two ways; `scale` is the size of such results elsewhere.
Race::Verdict Fastest::compare(const std::vector<double>& known, Span<const double> found, double scale) const {
  const double size = size_of(known);
  if (!std::isfinite(size)) return Race::Verdict::kUndecided;
  std::vector<double> differences(known.size());
  std::transform(known.begin(), known.end(), found.begin(), differences.begin(), std::minus<>());
  const double largest = std::max(size, std::isfinite(scale) ? scale : 0);
  return size_of(differences) <= tolerance_ * largest ? Race::Verdict::kAgrees : Race::Verdict::kDiffers;
}

template double Fastest::take_turn<Wanted::kBoth>(Span<const double> x, const Buffers& to);
template double Fastest::take_turn<Wanted::kValues>(Span<const double> x, const Buffers& to);
template double Fastest::take_turn<Wanted::kDerivatives>(Span<const double> x, const Buffers& to);

}  // namespace tfminimize
