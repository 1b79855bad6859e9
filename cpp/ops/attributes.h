#ifndef TFMINIMIZE_OPS_ATTRIBUTES_H_
#define TFMINIMIZE_OPS_ATTRIBUTES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/function_library.h"
#include "ops/instantiate.h"
#include "solvers/bfgs/bfgs.h"
#include "solvers/lbfgsb/lbfgsb.h"
#include "solvers/slsqp/slsqp.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace tfminimize {

inline std::size_t to_size(std::int64_t value) { return static_cast<std::size_t>(value); }

/// The solvers.
enum class Method { kLbfgsb, kSlsqp, kBfgs };

/// The attributes that both ops have. Any program can write a graph, so all of them are checked.
struct Attributes {
  /// `context` is an OpKernelConstruction or an InferenceContext. Throws StatusError, with the name and the value of
  /// the attribute, for a value that no solve could use.
  template <typename Context>
  explicit Attributes(const Context& context);

  Method method = Method::kLbfgsb;
  std::vector<tensorflow::NameAttrList> functions;
  solvers::LbfgsbOptions lbfgsb;  ///< Without the tolerances, which are inputs.
  solvers::SlsqpOptions slsqp;
  solvers::BfgsOptions bfgs;  ///< Without what are inputs: numbers, and hess_inv0.
  std::int64_t num_constraints = 0;
  std::int64_t num_equalities = 0;
  bool jit_compile = false;
  std::vector<tensorflow::DataType> capture_dtypes;

  /// Whether the functions may be those of constraints.
  bool is_constrained() const { return method == Method::kSlsqp; }

  /// The functions that the op calls.
  std::vector<FunctionAttribute> called() const { return {{"functions", functions, signatures()}}; }

  /// The shapes of what each function returns for n variables.
  std::vector<std::vector<std::vector<std::size_t>>> result_shapes(std::size_t n) const;

  /// Throws StatusError if x has no elements.
  void check_size(std::int64_t size) const;

 private:
  std::vector<Signature> signatures() const;
  /// Names the method, as the reason for what it needs.
  const char* reason() const;
  void check_counts() const;
};

/// Those of the op that solves one problem.
struct MinimizeAttributes : Attributes {
  template <typename Context>
  explicit MinimizeAttributes(const Context& context);

  std::vector<tensorflow::NameAttrList> trace_functions;
  std::vector<VariableComponent> variables;
  std::int64_t variables_size = 0;  ///< Elements of all of them.
  bool trace_start = false;
  std::vector<tensorflow::PartialTensorShape> trace_shapes;
  std::vector<tensorflow::DataType> state_dtypes;
  std::vector<tensorflow::DataType> trace_dtypes;

  std::vector<FunctionAttribute> called() const;

  /// Throws StatusError if x0 has no elements, or not as many as the variables.
  void check_size(std::int64_t x0_size) const;

 private:
  Signature trace_signature() const;
  void check_variables();
  void check_trace() const;
};

/// Those of the op that solves a batch of problems.
struct BatchAttributes : Attributes {
  template <typename Context>
  explicit BatchAttributes(const Context& context);

  std::vector<std::size_t> batched;  ///< The captures with a slice for each problem.
  std::size_t num_threads = 0;       ///< 0: as many as the process has chosen.

 private:
  void check_batched(const std::vector<std::int64_t>& given);
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_ATTRIBUTES_H_
