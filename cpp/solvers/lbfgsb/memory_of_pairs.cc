#include "solvers/lbfgsb/memory_of_pairs.h"

#include <algorithm>

#include "solvers/memory.h"

namespace tfminimize::solvers {
namespace {

constexpr const char* kFloat32 = "storage=\"float32\"";

double size_of(Storage storage) { return static_cast<double>(element_size(storage)); }

}  // namespace

void MemoryOfPairs::check(std::size_t count, double beside) const {
  MemoryNeed need;
  need.solver = "L-BFGS-B";
  need.sizes = std::to_string(n_) + " variables and maxcor = " + std::to_string(maxcor_);
  need.bytes = bytes() + beside;
  need.count = count;
  check_memory(need, [&](double free) {
    return std::string(count == 1 ? "give " : "give a smaller num_threads, ") + remedy(free - beside) +
           "fewer variables.";
  });
}

double MemoryOfPairs::bytes() const {
  const double columns = 2 * static_cast<double>(maxcor_) + 1;
  return static_cast<double>(n_) * (columns * size_of(storage_) + 2 * sizeof(double));
}

/// The largest maxcor that so many bytes allow; less than 1 if none does.
std::int64_t MemoryOfPairs::fitting(double free, Storage storage) const {
  const double columns = (free / static_cast<double>(n_) - 2 * sizeof(double)) / size_of(storage);
  return static_cast<std::int64_t>(std::clamp((columns - 1) / 2, -1.0, static_cast<double>(kMaxPairs)));
}

/// What would fit, as the beginning of a list.
std::string MemoryOfPairs::remedy(double free) const {
  const auto pairs = [](std::int64_t most) { return "maxcor=" + std::to_string(most) + " or less"; };
  const std::int64_t fits = fitting(free, storage_);
  std::string list = fits < 1 ? "" : pairs(fits) + ", ";
  if (storage_ == Storage::kFloat64) {
    const std::int64_t fits_float32 = fitting(free, Storage::kFloat32);
    if (fits_float32 >= maxcor_) {
      list += std::string(kFloat32) + ", ";
    } else if (fits_float32 >= 1) {
      list += std::string(kFloat32) + " and " + pairs(fits_float32) + ", ";
    }
  }
  return list.empty() ? list : list + "or ";
}

}  // namespace tfminimize::solvers
