#ifndef TFMINIMIZE_BINDINGS_INTERRUPT_WATCH_H_
#define TFMINIMIZE_BINDINGS_INTERRUPT_WATCH_H_

#include <pybind11/pybind11.h>

#include <array>
#include <atomic>
#include <optional>
#include <thread>

#include "bindings/objective.h"
#include "objectives/evaluator.h"

namespace tfminimize {

namespace py = pybind11;

/// Cancels a long evaluation on Ctrl-C, while it lives. Python only notes a signal until its main thread runs Python
/// again, which is after the evaluation; a thread of the watch's own is woken by the signal and cancels.
///
/// Made and destroyed in Python's main thread, with the GIL held.
class InterruptWatch {
 public:
  explicit InterruptWatch(Evaluator& evaluator);
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  /// Whether this is the main thread and Ctrl-C raises KeyboardInterrupt, so that the evaluation is of no more use.
  static bool applies();

 private:
  void watch();
  void finish();
  void close_pipe();

  Evaluator& evaluator_;
  py::module_ signal_;
  std::array<int, 2> pipe_{-1, -1};
  std::atomic<int> previous_fd_{-1};  ///< Who was woken by signals before, and still is: event loops use it.
  std::atomic<bool> done_{false};
  std::thread thread_;
};

/// An InterruptWatch while it lives, if evaluations are long, as far as known, and it can be of use.
class LongEvaluationWatch {
 public:
  /// `bound` is `objective` in use.
  LongEvaluationWatch(const PyEvaluator& objective, Evaluator& bound);

 private:
  std::optional<InterruptWatch> watch_;
};

/// Runs Python's handlers of the signals that have come, and throws what they raise. Needs no GIL.
void poll_signals();

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_INTERRUPT_WATCH_H_
