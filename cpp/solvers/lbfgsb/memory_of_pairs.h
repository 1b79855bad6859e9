#ifndef TFMINIMIZE_SOLVERS_LBFGSB_MEMORY_OF_PAIRS_H_
#define TFMINIMIZE_SOLVERS_LBFGSB_MEMORY_OF_PAIRS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "solvers/kernels/kernels.h"

namespace tfminimize::solvers {

/// The most correction pairs. The small matrices of more fit into no memory, and all sizes stay far from an overflow.
inline constexpr std::int64_t kMaxPairs = std::int64_t{1} << 20;

/// The memory of an L-BFGS-B solver: S, Y and the direction, and x and the gradient at the start of the line search.
class MemoryOfPairs {
 public:
  MemoryOfPairs(std::size_t n, std::int64_t maxcor, Storage storage) : n_(n), maxcor_(maxcor), storage_(storage) {}

  /// Throws OutOfMemory if there is too little for `count` solvers, each with `beside` bytes more.
  void check(std::size_t count = 1, double beside = 0) const;

 private:
  double bytes() const;
  std::int64_t fitting(double free, Storage storage) const;
  std::string remedy(double free) const;

  std::size_t n_;
  std::int64_t maxcor_;
  Storage storage_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_LBFGSB_MEMORY_OF_PAIRS_H_
