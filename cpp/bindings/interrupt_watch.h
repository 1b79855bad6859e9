#ifndef TFMINIMIZE_BINDINGS_INTERRUPT_WATCH_H_
#define TFMINIMIZE_BINDINGS_INTERRUPT_WATCH_H_

#include <pybind11/pybind11.h>

#include <memory>
#include <optional>

#include "bindings/objective.h"
#include "objectives/objective.h"

namespace tfminimize::bindings {

namespace py = pybind11;

class InterruptWatcher;

/// Cancels a long evaluation on Ctrl-C, while it lives. Python handles a signal only when its main thread runs Python
/// again, which is after the evaluation. So the signal wakes a thread, and that thread cancels the evaluation.
///
/// Make and destroy it in Python's main thread, with the GIL held. Several may live at once and end in any order, since
/// solves can be nested or switch greenlets. They share one thread.
class InterruptWatch {
 public:
  explicit InterruptWatch(Objective& objective);
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  /// Whether this is the main thread and Ctrl-C raises KeyboardInterrupt, which makes the evaluation useless.
  static bool applies();

  /// Makes earlier signals cancel nothing any more, since Python has handled them or is about to. (A callback may catch
  /// a KeyboardInterrupt.)
  void forget() const;

 private:
  Objective& objective_;
  std::shared_ptr<InterruptWatcher> watcher_;
};

/// Holds an InterruptWatch if evaluations may be long and can be cancelled.
class LongEvaluationWatch {
 public:
  /// `core` is what `objective` evaluates with now.
  LongEvaluationWatch(const PyObjective& objective, Objective& core);

  void forget() const {
    if (watch_) watch_->forget();
  }

 private:
  std::optional<InterruptWatch> watch_;
};

/// Runs Python's handlers for the signals that have arrived, and throws what they raise. It takes the GIL itself.
void poll_signals();

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_INTERRUPT_WATCH_H_
