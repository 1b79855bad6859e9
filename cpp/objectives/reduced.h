#ifndef TFMINIMIZE_OBJECTIVES_REDUCED_H_
#define TFMINIMIZE_OBJECTIVES_REDUCED_H_

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "objectives/exception_of.h"
#include "objectives/objective.h"
#include "solvers/aligned_array.h"
#include "solvers/span.h"

namespace tfminimize {

/// What one process contributes to a loss over the data of all.
struct Share {
  std::size_t rank = 0;      ///< Of this process.
  std::size_t size = 1;      ///< How many processes there are.
  bool is_mean = false;      ///< Whether the loss is the mean over all rows; else it is the sum over all processes.
  double rows = 0;           ///< Of the data of this process.
  bool counts_rows = false;  ///< Whether each evaluation counts them anew: they are then the last of its sums().
  std::size_t num_sums = 0;  ///< How many of its sums(), the first ones, are added up over all processes.
};

/// Thrown in a process that has not failed when another one has.
struct PeerFailed : std::runtime_error {
  PeerFailed() : std::runtime_error("Another process of this solve has failed.") {}
};

/// Thrown in all processes if they are no longer at the same x.
struct ProcessesParted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The sum, or the mean over all rows, of an objective that each process has for its own data:
///
///     f = Σ f_r,  or  Σ n_r f_r / Σ n_r with n_r the rows of process r
///
/// Each process runs the same solver. An evaluation is one *round*, in which all processes take part:
///
///     [ n g | J, c of process 0 | sums | n f | n | late | stop | failed | digests of x ]   is added up
///
/// Since a solver is deterministic, all processes then take the same step. For that, they must branch on nothing that
/// only one of them knows. So an error, an interrupt, a callback's wish to stop or a deadline that has passed does not
/// end anything here; it goes into the next round, and all processes end after that. A process that has failed does not
/// evaluate, but takes part in that round.
///
/// A round throws in all processes, in this order:
///
///     PeerFailed        if any has failed; one that has failed throws its own error instead
///     ProcessesParted   if the digests differ
///     StopWished        if any wishes to stop; only if the solver has asked for values
///     DeadlinePassed    if any is late
class Reduced final : public Objective {
 public:
  /// Adds up a vector over all processes, in place. All get the same bits. Whatever it throws ends the solve in this
  /// process alone.
  using Sum = std::function<void(Span<double>)>;
  /// Throws if the user interrupts the solve.
  using Poll = std::function<void()>;

  /// `inner`, the objective of this process, must outlive the object.
  Reduced(Objective& inner, const Share& share, Sum sum, Poll poll);

  double evaluate(Span<const double> x, const Buffers& to) override { return reduce(x, to, true, true); }
  double values(Span<const double> x, const Buffers& to) override { return reduce(x, to, true, false); }
  void derivatives(Span<const double> x, const Buffers& to) override { reduce(x, to, false, true); }
  bool is_joint() const override { return inner_.is_joint(); }
  void cancel() override { inner_.cancel(); }
  void set_deadline(std::chrono::steady_clock::time_point deadline) override {
    deadline_ = deadline;
    inner_.set_deadline(deadline);
  }
  bool keeps_deadline() const override { return true; }
  Span<const double> sums() const override { return {sums_.data(), sums_.size()}; }

  /// Runs work(), unless this process has failed. What it throws goes into the next round.
  template <typename Work>
  void attempt(const Work& work) {
    if (error_) return;
    if (std::exception_ptr error = exception_of(work)) fail(std::move(error));
  }

  /// Lets the next round fail; only the first error counts.
  void fail(std::exception_ptr error) {
    if (!error_) error_ = std::move(error);
  }

  /// Lets all processes stop in the next round that evaluates values.
  void wish_to_stop() { wishes_to_stop_ = true; }

  /// A round without an evaluation: throws unless all processes are at the same x and none has failed.
  void agree(Span<const double> x);
  /// The same, which also adds up a vector of the caller's, in place; that of a process that has failed counts zero.
  void add_up(Span<double> vector, Span<const double> x);
  /// The same, as the last round of a solve.
  void conclude(Span<const double> x);

  /// Whether the solve has ended in all processes, by conclude() or since one has failed.
  bool has_ended() const { return has_ended_; }
  /// Whether it has ended since one has failed.
  bool has_failed() const { return has_failed_; }

 private:
  struct Parts;

  double reduce(Span<const double> x, const Buffers& to, bool has_values, bool has_derivatives);
  double evaluate_own(Span<const double> x, const Buffers& to, bool has_values, bool has_derivatives);
  void weigh(const Parts& parts) const;
  double take(const Parts& parts, const Buffers& to, bool has_values, bool has_derivatives);
  void exchange(Span<double> vector, Span<const double> x, bool takes_stop);
  void note_failure() { has_ended_ = has_failed_ = true; }

  Objective& inner_;
  const Share share_;
  const Sum sum_;
  const Poll poll_;
  solvers::AlignedArray<double> buffer_;
  std::vector<double> sums_;
  std::chrono::steady_clock::time_point deadline_ = kNever;
  std::exception_ptr error_;  ///< For the next round.
  bool wishes_to_stop_ = false;
  bool is_late_ = false;
  bool has_ended_ = false;
  bool has_failed_ = false;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_REDUCED_H_
