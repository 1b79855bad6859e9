#ifndef TFMINIMIZE_OPS_RECOMPILATION_H_
#define TFMINIMIZE_OPS_RECOMPILATION_H_

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>

#include "solvers/span.h"
#include "tensorflow/core/platform/logging.h"

namespace tfminimize {

/// Seconds of wall time that a call takes.
template <typename Call>
double seconds_of(const Call& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Seconds that a call takes, of wall time or of CPU time of this process, whichever are fewer.
///
/// Compiling takes both. Other programs on a busy machine take wall time alone, other threads CPU time.
template <typename Call>
double fewer_seconds_of(const Call& call) {
  const std::clock_t begin = std::clock();
  const double wall = seconds_of(call);
  return std::min(wall, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
}

inline double median(std::array<double, 3> numbers) {
  std::sort(numbers.begin(), numbers.end());
  return numbers[1];
}

/// Logs a warning if the evaluations of a solve were mostly compilations, as happens when a size depends on x.
///
/// If they took long enough, it evaluates again: at the last x, which is compiled already, and then by turns at a new x
/// close to it, where x stays, and at the same one once more. `seconds` is the time of `count` evaluations, without the
/// first, which compiles the function anyway. recompilation.py does the same for solves that Python starts.
template <typename Evaluate>
void log_if_compiled_anew(double seconds, std::int64_t count, Span<double> x, const std::string& node,
                          const Evaluate& evaluate) {
  constexpr double kShort = 0.005;  // Compiling the smallest function takes 10 ms.
  constexpr double kMuchFaster = 4;
  constexpr double kStep = 1.0 / (1 << 20);  // Relative; float32 sees it too.
  if (count < 1 || seconds < kShort * static_cast<double>(count)) return;
  std::array<double, 3> again{};
  std::array<double, 3> beside{};
  for (double& time : again) time = fewer_seconds_of(evaluate);
  if (kMuchFaster * median(again) * static_cast<double>(count) >= seconds) return;
  for (std::size_t i = 0; i < again.size(); ++i) {
    x[0] += kStep * (x[0] == 0 ? 1 : std::abs(x[0]));
    beside[i] = fewer_seconds_of(evaluate);
    again[i] = fewer_seconds_of(evaluate);
  }
  if (median(beside) <= std::max(kShort, kMuchFaster * median(again))) return;
  LOG(WARNING) << node << ": XLA compiles the function anew for every x: an evaluation took " << median(beside)
               << " s, but " << median(again)
               << " s where it was compiled already. Use jit_compile=False, also in a tf.function that the "
               << "function calls, or let no size depend on x.";
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_RECOMPILATION_H_
