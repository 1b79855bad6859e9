#ifndef TFMINIMIZE_OPS_NESTED_H_
#define TFMINIMIZE_OPS_NESTED_H_

#include "ops/function_library.h"

namespace tfminimize {

/// Counts the solves of a thread that run inside one another. A function that solves itself would go on until the stack
/// overflows.
class Nested {
 public:
  Nested() { ++depth(); }
  ~Nested() { --depth(); }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

  void check_depth() const {
    constexpr int kMaxDepth = 32;
    if (depth() > kMaxDepth) {
      fail("functions solve inside one another, nested ", kMaxDepth, " deep: one calls itself.");
    }
  }

 private:
  static int& depth() {
    thread_local int depth = 0;
    return depth;
  }
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_NESTED_H_
