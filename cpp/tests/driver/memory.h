#ifndef TFMINIMIZE_TESTS_DRIVER_MEMORY_H_
#define TFMINIMIZE_TESTS_DRIVER_MEMORY_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "objectives/objective.h"
#include "solvers/aligned_array.h"
#include "solvers/problem.h"

namespace tfminimize::testing {

/// The memory of a problem.
class Memory {
 public:
  explicit Memory(const std::vector<double>& start, std::size_t m = 0)
      : x_(Doubles::zeros(start.size())),
        gradient_(Doubles::zeros(start.size())),
        constraints_(Doubles::zeros(m)),
        jacobian_(Doubles::zeros(m * stride(start.size()))) {
    std::copy(start.begin(), start.end(), x_.data());
  }

  solvers::Problem problem(std::size_t num_equalities = 0) const {
    solvers::Problem problem;
    problem.x = x_.span();
    problem.gradient = gradient_.span();
    problem.constraints = constraints_.span();
    problem.jacobian = jacobian_.span();
    problem.num_equalities = num_equalities;
    return problem;
  }

  Buffers buffers() const { return {gradient_.span(), constraints_.span(), jacobian_.span(), stride(x_.size())}; }

  std::vector<double> x() const { return {x_.span().begin(), x_.span().end()}; }

  static std::size_t stride(std::size_t n) { return solvers::Problem::stride(n); }

 private:
  using Doubles = solvers::AlignedArray<double>;

  Doubles x_;
  Doubles gradient_;
  Doubles constraints_;
  Doubles jacobian_;
};

}  // namespace tfminimize::testing

#endif  // TFMINIMIZE_TESTS_DRIVER_MEMORY_H_
