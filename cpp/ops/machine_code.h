#ifndef TFMINIMIZE_OPS_MACHINE_CODE_H_
#define TFMINIMIZE_OPS_MACHINE_CODE_H_

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ops/function_library.h"
#include "solvers/aligned_array.h"
#include "solvers/span.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "xla/function.h"
#include "xla/xla_compiler.h"

namespace tfminimize {

/// The arguments of the functions in one run of an op, as machine code takes them: x, and the captures. A variable is
/// passed by its value: that at the start of the run, or a part of x.
class MachineArguments {
 public:
  /// x has `size` elements. `context` must outlive the object.
  MachineArguments(tensorflow::OpKernelContext& context, std::size_t size, const Captures& captures);

  /// Reads a variable that is not a part of x; does nothing for another argument. Throws std::runtime_error if it
  /// cannot be read.
  void read(std::size_t argument);

  std::size_t count() const { return arguments_.size(); }

  /// Whether the value of an argument is part of x, or differs between the problems of a batch.
  bool varies(std::size_t argument) const { return arguments_[argument].varies; }

  /// The dtype and shape of an argument. If `with_value`, also its value.
  xla::LoweringArgument describe(std::size_t argument, bool with_value) const;

  /// Appends to `key` what machine code depends on: the shape of an argument and, if `with_value`, its value.
  void add_to_key(std::size_t argument, bool with_value, std::string& key) const;

  /// What a function gets for an argument.
  CompiledFunction::Input input(std::size_t argument) const;

  /// Lets functions read this x in the place of variables.
  void stage(Span<const double> x) const;

 private:
  struct Argument {
    tensorflow::DataType dtype{};
    tensorflow::TensorShape shape;
    bool is_variable = false;
    bool varies = false;
    tensorflow::Tensor value;  ///< For x none; for a variable that is part of x where stage() writes its value.
    std::size_t offset = 0;    ///< In x, for such a variable.
  };

  tensorflow::OpKernelContext& context_;
  std::vector<Argument> arguments_;
  std::vector<std::size_t> staged_;  ///< The variables that are part of x.
};

/// Machine code of one function, for arguments of certain shapes.
struct MachineProgram {
  std::shared_ptr<xla::XlaProgram> program;
  std::vector<std::size_t> arguments;  ///< Those that it takes, in order.
};

/// Machine code as an objective calls it, without TensorFlow.
class MachineFunction final : public xla::Function {
 public:
  /// `arguments` must outlive the object.
  MachineFunction(const MachineProgram& program, const MachineArguments& arguments, Components& components,
                  std::vector<Output> outputs);

  void begin_batch(const std::vector<BatchedInput>& inputs) override;

 private:
  void run(Span<const double> x) override {
    arguments_.stage(x);
    xla::Function::run(x);
  }

  const MachineArguments& arguments_;
  std::vector<std::size_t> taken_;  ///< The arguments that the program takes, in order.
};

/// The functions of an op as machine code. Compiles them when they are first called with arguments of new shapes, and
/// keeps the result for further solves. Threads can share it.
class MachineCode {
 public:
  using Shapes = FunctionLibrary::Shapes;

  explicit MachineCode(const std::vector<tensorflow::NameAttrList>& functions) : functions_(functions) {}

  /// The machine code of all functions; reads the variables that they use. `results` are the shapes of each function's
  /// results; results without elements are left out. Throws std::runtime_error with a sentence that says why TensorFlow
  /// must call the functions.
  std::vector<MachineProgram> programs(const tensorflow::FunctionLibraryDefinition& library,
                                       MachineArguments& arguments, const std::vector<Shapes>& results);

 private:
  /// A function without the arguments that it does not use and the results that have no elements.
  struct Prepared {
    std::string name;
    std::string library;                 ///< For XlaCompiler.
    std::vector<std::size_t> arguments;  ///< Those that it uses.
    std::vector<bool> is_constant;       ///< Whether XLA must know the value of each of these.
  };

  /// What has become of an attempt to compile: programs, or a reason why not.
  struct Attempt {
    std::string key;
    std::vector<MachineProgram> programs;
    std::string reason;
  };

  void prepare(const tensorflow::FunctionLibraryDefinition& library, const std::vector<Shapes>& results);
  std::vector<MachineProgram> compile(const MachineArguments& arguments, const std::vector<Shapes>& results) const;

  const std::vector<tensorflow::NameAttrList>& functions_;
  std::mutex mutex_;
  std::vector<Prepared> prepared_;
  std::string reason_;           ///< Why the functions cannot be prepared.
  std::list<Attempt> attempts_;  ///< The most recent one first.
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_MACHINE_CODE_H_
