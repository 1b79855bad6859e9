#ifndef TFMINIMIZE_SOLVERS_MEMORY_H_
#define TFMINIMIZE_SOLVERS_MEMORY_H_

#include <cstddef>
#include <functional>
#include <new>
#include <string>
#include <utility>

namespace tfminimize::solvers {

/// There is not enough memory. what() says what needs it, and what to do.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string sentence) : sentence_(std::move(sentence)) {}
  const char* what() const noexcept override { return sentence_.c_str(); }

 private:
  std::string sentence_;
};

/// The number of bytes in words: "1.5 GB".
std::string gigabytes(double bytes);

/// What `count` solvers of one kind need, each in a thread of its own.
struct MemoryNeed {
  std::string solver;  ///< Its name.
  std::string sizes;   ///< "12 variables", in words.
  double bytes = 0;    ///< For one solver.
  std::size_t count = 1;
};

/// Throws OutOfMemory if less memory is free than this. The system would hand it out all the same, and kill the process
/// once the memory is used. remedy(bytes) says what to do, if one solver can have so many.
void check_memory(const MemoryNeed& need, const std::function<std::string(double bytes)>& remedy);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_MEMORY_H_
