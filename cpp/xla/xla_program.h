#ifndef TFMINIMIZE_XLA_XLA_PROGRAM_H_
#define TFMINIMIZE_XLA_XLA_PROGRAM_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tfminimize::xla {

// The border between two extensions: what links to TensorFlow implements these classes, what calls them does not link
// to it. Both are compiled by the same compiler in the same build, see xla_capsule.h.

/// An array that a program reads or writes.
struct XlaArray {
  std::string dtype;  ///< As TensorFlow names it: "float64", "int32", ...
  std::size_t bytes = 0;
};

/// One thread's use of a program: where its arguments and results are, and memory for what lies between.
class XlaCall {
 public:
  XlaCall() = default;
  virtual ~XlaCall() = default;
  XlaCall(const XlaCall&) = delete;
  XlaCall& operator=(const XlaCall&) = delete;

  /// Where the argument or the result at `index` is from now on: 64-byte aligned, of as many bytes as the program says.
  virtual void set_argument(std::size_t index, const void* data) = 0;
  virtual void set_result(std::size_t index, void* data) = 0;

  /// Runs the program, all of whose arguments and results must be set. Throws std::runtime_error with XLA's message.
  virtual void run() = 0;
};

/// A function that XLA has compiled to machine code. All threads share it.
class XlaProgram {
 public:
  virtual ~XlaProgram() = default;
  XlaProgram(const XlaProgram&) = delete;
  XlaProgram& operator=(const XlaProgram&) = delete;

  const std::vector<XlaArray>& parameters() const { return parameters_; }
  const std::vector<XlaArray>& results() const { return results_; }

  /// A use of the program, which keeps it alive. With the thread pool of the process, large parts of it run in several
  /// threads; without, all runs in the thread that calls.
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
