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

/// The attributes of the op. Any program can write a graph, so all of them are checked.
struct Attributes {
  /// `context` is an OpKernelConstruction or an InferenceContext. Throws StatusError, with the name and the value of
  /// the attribute, for a value that no solve could use.
  template <typename Context>
  explicit Attributes(const Context& context);

  Method method = Method::kLbfgsb;
  std::vector<tensorflow::NameAttrList> functions;
  std::vector<tensorflow::NameAttrList> trace_functions;
  solvers::LbfgsbOptions lbfgsb;  ///< Without the tolerances, which are inputs.
  solvers::SlsqpOptions slsqp;
  solvers::BfgsOptions bfgs;  ///< Without what are inputs: numbers, and hess_inv0.
  std::int64_t num_constraints = 0;
  std::int64_t num_equalities = 0;
  std::vector<VariableComponent> variables;
  std::int64_t variables_size = 0;  ///< Elements of all of them.
  bool jit_compile = false;
  bool trace_start = false;
  std::vector<tensorflow::PartialTensorShape> trace_shapes;
  std::vector<tensorflow::DataType> state_dtypes;
  std::vector<tensorflow::DataType> capture_dtypes;
  std::vector<tensorflow::DataType> trace_dtypes;

  /// Whether the functions may be those of constraints.
  bool is_constrained() const { return method == Method::kSlsqp; }

  /// What the functions and the trace function must take and return.
  std::vector<Signature> signatures() const;
  Signature trace_signature() const;

  /// Throws StatusError if x0 has no elements, or not as many as the variables.
  void check_size(std::int64_t x0_size) const;

 private:
  /// Names the method, as the reason for what it needs.
  const char* reason() const;
  void check_counts() const;
  void check_variables();
  void check_trace() const;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_ATTRIBUTES_H_
