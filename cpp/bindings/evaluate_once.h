#ifndef TFMINIMIZE_BINDINGS_EVALUATE_ONCE_H_
#define TFMINIMIZE_BINDINGS_EVALUATE_ONCE_H_

#include <chrono>
#include <exception>

#include "bindings/gil.h"
#include "bindings/interrupt_watch.h"
#include "bindings/objective.h"
#include "driver/exception_of.h"

namespace tfminimize {

/// Calls evaluate(objective) without the GIL, which the thread holds, for one evaluation at the memory of `x`.
template <typename Core, typename Evaluate>
void evaluate_once(PyObjectiveOf<Core>& objective, const py::array& x, const Evaluate& evaluate) {
  const auto start = std::chrono::steady_clock::now();
  objective.with(x, [&](Core& bound) {
    const LongEvaluationWatch watch(objective, bound);
    const GilReleased no_gil;
    const std::exception_ptr error = exception_of([&] { evaluate(bound); });
    if (!error) return;
    poll_signals();  // an evaluation that was cancelled ends as the interrupt, not as its own error
    std::rethrow_exception(error);
  });
  objective.expected_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_EVALUATE_ONCE_H_
