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

/// Cancels a long evaluation on Ctrl-C, while it lives. Python only notes a signal until its main thread runs Python
/// again, which is after the evaluation; a thread is woken by the signal and cancels.
///
/// Made and destroyed in Python's main thread, with the GIL held. Several may live at once, and end in any order:
/// solves are nested, or switch greenlets. They share the thread.
class InterruptWatch {
 public:
  explicit InterruptWatch(Objective& objective);
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  /// Whether this is the main thread and Ctrl-C raises KeyboardInterrupt, so that the evaluation is of no more use.
  static bool applies();

  /// Python has seen, or is about to see, the signals that came before: they cancel nothing any more. (A callback may
  /// catch a KeyboardInterrupt.)
  void forget() const;

 private:
  Objective& objective_;
  std::shared_ptr<InterruptWatcher> watcher_;
};

/// An InterruptWatch while it lives, if evaluations are long, as far as known, and it can be of use.
class LongEvaluationWatch {
 public:
  /// `core` is that of `objective`, in use.
  LongEvaluationWatch(const PyObjective& objective, Objective& core);

  void forget() const {
    if (watch_) watch_->forget();
  }

 private:
  std::optional<InterruptWatch> watch_;
};

/// Runs Python's handlers of the signals that have come, and throws what they raise. Needs no GIL.
void poll_signals();

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_INTERRUPT_WATCH_H_
