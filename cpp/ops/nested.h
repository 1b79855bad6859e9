#ifndef TFMINIMIZE_OPS_NESTED_H_
#define TFMINIMIZE_OPS_NESTED_H_

#include "ops/function_library.h"

namespace tfminimize {

/// Counts the solves that run inside one another. A function that solves itself would go on until the stack overflows.
class Nested {
 public:
  /// One solve more than the thread has already begun.
  Nested() : Nested(depth() + 1) {}

  /// As many solves as those for which another thread works.
  explicit Nested(int depth) : before_(Nested::depth()) { current() = depth; }

  ~Nested() { current() = before_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

  static int depth() { return current(); }

  static void check_depth() {
    constexpr int kMaxDepth = 32;
    if (depth() > kMaxDepth) {
      fail("functions solve inside one another, nested ", kMaxDepth, " deep: one calls itself.");
    }
  }

 private:
  static int& current() {
    thread_local int depth = 0;
    return depth;
  }

  int before_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_NESTED_H_
