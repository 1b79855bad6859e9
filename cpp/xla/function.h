#ifndef TFMINIMIZE_XLA_FUNCTION_H_
#define TFMINIMIZE_XLA_FUNCTION_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "objectives/compiled_function.h"
#include "objectives/components.h"
#include "solvers/aligned_array.h"
#include "solvers/span.h"
#include "xla/xla_program.h"

namespace tfminimize::xla {

/// A program of XLA, which the solver calls without TensorFlow. It reads x and writes results of doubles in place.
class Function : public CompiledFunction {
 public:
  /// Inputs in the order of the program's parameters. For `use_thread_pool` see XlaProgram::call(). Throws
  /// std::invalid_argument for inputs and outputs that do not fit the program.
  Function(std::shared_ptr<XlaProgram> program, Components& components, std::vector<Input> inputs,
           std::vector<Output> outputs, bool use_thread_pool = true);

  const char* way() const override { return "machine_code"; }

  void pass_rows(const BatchedInput& rows) override { call_->set_argument(rows.position, rows.data); }

  std::vector<HostArray> arrays() override;
  void begin_batch(const std::vector<BatchedInput>& inputs) override;
  void select(std::size_t problem) override;
  void end_batch() override;

 protected:
  /// Throws std::runtime_error with XLA's message.
  void run(Span<const double> x) override {
    if (x.data() != x_) set_x(x);
    call_->run();
  }

 private:
  using Bytes = solvers::AlignedArray<unsigned char>;

  /// An input of the batch, and memory for a copy of a value that is not aligned.
  struct Batched {
    BatchedInput input;
    Bytes copy;
  };

  /// If a result is not of doubles, or its target is not aligned, the program writes it to memory of this object.
  void set_target(std::size_t index, double* target) override;
  void input_changed(std::size_t position) override { pass(position); }

  void check_inputs() const;
  void check_outputs() const;
  void pass(std::size_t position);
  void use(std::unique_ptr<XlaCall> call);
  void set_x(Span<const double> x);

  std::shared_ptr<XlaProgram> program_;
  std::vector<Batched> batch_;
  std::unique_ptr<XlaCall> call_;
  std::unique_ptr<XlaCall> usual_call_;  ///< Kept here during a batch, which has another.
  std::vector<Bytes> own_;               ///< Memory for results without a target.
  const double* x_ = nullptr;
};

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_FUNCTION_H_
