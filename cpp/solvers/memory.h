#ifndef TFMINIMIZE_SOLVERS_MEMORY_H_
#define TFMINIMIZE_SOLVERS_MEMORY_H_

#include <new>
#include <string>
#include <utility>

namespace tfminimize::solvers {

/// There is not enough memory; what() says for what, and what to do.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string sentence) : sentence_(std::move(sentence)) {}
  const char* what() const noexcept override { return sentence_.c_str(); }

 private:
  std::string sentence_;
};

/// The same in words.
std::string gigabytes(double bytes);

/// Throws OutOfMemory if the machine does not have so many bytes at all. The system hands out more memory than there
/// is, and ends the process when it is used.
void check_memory(double bytes, const std::string& user, const std::string& remedy);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_MEMORY_H_
