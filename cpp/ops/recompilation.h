#ifndef TFMINIMIZE_OPS_RECOMPILATION_H_
#define TFMINIMIZE_OPS_RECOMPILATION_H_

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>

#include "solvers/span.h"
#include "tensorflow/core/platform/logging.h"

namespace tfminimize {

/// Seconds that a call takes.
template <typename Call>
double seconds_of(const Call& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Logs a warning if the evaluations of a solve were mostly compilations, as happens when a size depends on x.
///
/// If they took long enough, two more evaluations decide: one at the last x, which is compiled already, and one at a
/// point close by; x stays at that point. `seconds` is the time of `count` evaluations, without the first, which
/// compiles the function anyway. recompilation.py does the same for solves that Python starts.
template <typename Evaluate>
void log_if_compiled_anew(double seconds, std::int64_t count, Span<double> x, const std::string& node,
                          const Evaluate& evaluate) {
  constexpr double kShort = 0.005;  // Compiling the smallest function takes 10 ms.
  constexpr double kMuchFaster = 4;
  constexpr double kStep = 1.0 / (1 << 20);  // Relative; float32 sees it too.
  if (count < 1 || seconds < kShort * static_cast<double>(count)) return;
  const double again = seconds_of(evaluate);
  if (kMuchFaster * again * static_cast<double>(count) >= seconds) return;
  x[0] += kStep * (x[0] == 0 ? 1 : std::abs(x[0]));
  const double beside = seconds_of(evaluate);
  if (beside <= std::max(kShort, kMuchFaster * again)) return;
  LOG(WARNING) << node << ": XLA compiles the function anew for every x: an evaluation took " << beside << " s, but "
               << again << " s where it was compiled already. Use jit_compile=False, also in a tf.function that the "
               << "function calls, or let no size depend on x.";
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_RECOMPILATION_H_
