#ifndef TFMINIMIZE_XLA_XLA_PROGRAM_H_
#define TFMINIMIZE_XLA_XLA_PROGRAM_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tfminimize::xla {

// The interface between two extensions. The one that implements these classes links to TensorFlow; the one that calls
// them does not. The same compiler must build both in the same build, see xla_capsule.h.

/// An array that a program reads or writes.
struct XlaArray {
  std::string dtype;  ///< As TensorFlow names it: "float64", "int32", ...
  std::size_t bytes = 0;
};

/// Runs a program in one thread. Knows where arguments and results are, and has memory for intermediate values.
class XlaCall {
 public:
  XlaCall() = default;
  virtual ~XlaCall() = default;
  XlaCall(const XlaCall&) = delete;
  XlaCall& operator=(const XlaCall&) = delete;

  /// Sets where the argument or result at `index` is: 64-byte aligned memory of as many bytes as the program says.
  virtual void set_argument(std::size_t index, const void* data) = 0;
  virtual void set_result(std::size_t index, void* data) = 0;

  /// Runs the program; all arguments and results must be set. Throws std::runtime_error with XLA's message.
  virtual void run() = 0;
};

/// A function that XLA has compiled to machine code. Threads can share it.
class XlaProgram {
 public:
  virtual ~XlaProgram() = default;
  XlaProgram(const XlaProgram&) = delete;
  XlaProgram& operator=(const XlaProgram&) = delete;

  const std::vector<XlaArray>& parameters() const { return parameters_; }
  const std::vector<XlaArray>& results() const { return results_; }

  /// Makes a call, which keeps the program alive. With the thread pool of the process, large parts of the program run
  /// in several threads; without it, all runs in the calling thread.
  virtual std::unique_ptr<XlaCall> call(bool use_thread_pool) = 0;

 protected:
  XlaProgram(std::vector<XlaArray> parameters, std::vector<XlaArray> results)
      : parameters_(std::move(parameters)), results_(std::move(results)) {}

 private:
  std::vector<XlaArray> parameters_;
  std::vector<XlaArray> results_;
};

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_XLA_PROGRAM_H_
