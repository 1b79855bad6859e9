#ifndef TFMINIMIZE_TESTS_SOLVERS_ALLOCATIONS_H_
#define TFMINIMIZE_TESTS_SOLVERS_ALLOCATIONS_H_

#include <cstddef>

namespace tfminimize::solvers::testing {

/// How often this thread has allocated memory with operator new or std::aligned_alloc.
std::size_t num_allocations();

/// Adds the allocations during its life to `sum`.
class AllocationsCounted {
 public:
  explicit AllocationsCounted(std::size_t& sum) : sum_(sum), before_(num_allocations()) {}
  ~AllocationsCounted() { sum_ += num_allocations() - before_; }
  AllocationsCounted(const AllocationsCounted&) = delete;
  AllocationsCounted& operator=(const AllocationsCounted&) = delete;

 private:
  std::size_t& sum_;
  std::size_t before_;
};

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_ALLOCATIONS_H_
