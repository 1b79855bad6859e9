#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "driver/history.h"
#include "ops/attributes.h"
#include "ops/function_library.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/errors.h"

namespace tfminimize {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

void check_rank(InferenceContext* c, int input, const char* name, int rank) {
  constexpr const char* kKinds[] = {"scalar", "vector", "matrix"};
  const ShapeHandle shape = c->input(input);
  if (!c->RankKnown(shape) || c->Rank(shape) == rank) return;
  fail(name, " has shape ", c->DebugString(shape), ": it must be a ", kKinds[rank], ".");
}

/// Bounds have an element for each of those of x0, or none, along their last dimension.
void check_bound(InferenceContext* c, int input, const char* name, int rank, DimensionHandle n) {
  check_rank(c, input, name, rank);
  if (!c->RankKnown(c->input(input))) return;
  const DimensionHandle size = c->Dim(c->input(input), -1);
  if (!c->ValueKnown(size) || !c->ValueKnown(n) || c->Value(size) == 0 || c->Value(size) == c->Value(n)) return;
  fail(name, " has ", c->Value(size), " elements, but x0 has ", c->Value(n), ".");
}

/// A matrix has a row and a column for each element of x0, or the shape [0, 0].
void check_matrix(InferenceContext* c, int input, const char* name, DimensionHandle n) {
  const ShapeHandle shape = c->input(input);
  if (!c->RankKnown(shape)) return;
  if (c->Rank(shape) != 2) fail(name, " has shape ", c->DebugString(shape), ": it must be a matrix.");
  for (int i = 0; i < 2; ++i) {
    const DimensionHandle size = c->Dim(shape, i);
    if (!c->ValueKnown(size) || !c->ValueKnown(n) || c->Value(size) == 0 || c->Value(size) == c->Value(n)) continue;
    fail(name, " has shape ", c->DebugString(shape), ", but x0 has ", c->Value(n), " elements.");
  }
}

/// Checks the inputs that both ops have, apart from their rows.
void check_inputs(InferenceContext* c, int rank, DimensionHandle n) {
  check_bound(c, 1, "lower", rank, n);
  check_bound(c, 2, "upper", rank, n);
  check_rank(c, 3, "ftol", 0);
  check_rank(c, 4, "gtol", 0);
  check_rank(c, 5, "norm", 0);
  check_rank(c, 6, "xrtol", 0);
  check_rank(c, 7, "c1", 0);
  check_rank(c, 8, "c2", 0);
  check_matrix(c, 9, "hess_inv0", n);
}

constexpr int kFirstCapture = 10;  ///< Its place among the inputs, if there is no state.

absl::Status infer_shapes(InferenceContext* c, const MinimizeAttributes& attributes) {
  check_rank(c, 0, "x0", 1);
  ShapeHandle x;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &x));
  const DimensionHandle n = c->Dim(x, 0);
  if (c->ValueKnown(n)) attributes.check_size(c->Value(n));
  check_inputs(c, 1, n);
  int output = 0;
  c->set_output(output++, x);                                        // x
  c->set_output(output++, c->Scalar());                              // fun
  c->set_output(output++, x);                                        // jac
  for (int i = 0; i < 5; ++i) c->set_output(output++, c->Scalar());  // nit, nfev, njev, status, constr_violation
  c->set_output(output++, c->Vector(attributes.num_constraints));    // multipliers
  c->set_output(output++, c->Matrix(count_history_columns(), InferenceContext::kUnknownDim));  // history
  const DimensionHandle rows = c->UnknownDim();
  for (const tensorflow::PartialTensorShape& shape : attributes.trace_shapes) {
    ShapeHandle one;
    TF_RETURN_IF_ERROR(c->MakeShapeFromPartialTensorShape(shape, &one));
    TF_RETURN_IF_ERROR(c->Concatenate(c->Vector(rows), one, &one));
    c->set_output(output++, one);
  }
  for (int i = 0; i < 2; ++i) c->set_output(output++, c->Scalar());  // backend, backend_reason
  return absl::OkStatus();
}

/// The number of problems, if it is known. Throws StatusError if two inputs have different ones.
DimensionHandle count_problems(InferenceContext* c, const std::vector<std::size_t>& batched) {
  DimensionHandle count = c->UnknownDim();
  for (const std::size_t i : batched) {
    const ShapeHandle shape = c->input(kFirstCapture + static_cast<int>(i));
    if (!c->RankKnown(shape)) continue;
    if (c->Rank(shape) == 0) fail("captures[", i, "] is a scalar: since it is batched, it must have a dimension.");
    const DimensionHandle slices = c->Dim(shape, 0);
    if (!c->Merge(count, slices, &count).ok()) {
      fail("captures[", i, "] has ", c->Value(slices), " slices, and an earlier one that is batched has ",
           c->Value(count), ": they must have as many, one for each problem.");
    }
  }
  for (int input = 0; input < 3; ++input) {
    const ShapeHandle shape = c->input(input);
    if (!c->RankKnown(shape)) continue;
    const DimensionHandle rows = c->Dim(shape, 0);
    if (!c->ValueKnown(rows) || c->Value(rows) == 1 || c->Value(c->Dim(shape, 1)) == 0) continue;
    if (!c->Merge(count, rows, &count).ok()) {
      fail(input == 0   ? "x0"
           : input == 1 ? "lower"
                        : "upper",
           " has ", c->Value(rows), " rows, and there are ", c->Value(count),
           " problems: it must have one row for each, or one for all.");
    }
  }
  return count;
}

absl::Status infer_shapes(InferenceContext* c, const BatchAttributes& attributes) {
  check_rank(c, 0, "x0", 2);
  ShapeHandle x0;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &x0));
  const DimensionHandle n = c->Dim(x0, 1);
  if (c->ValueKnown(n)) attributes.check_size(c->Value(n));
  check_inputs(c, 2, n);
  const DimensionHandle count = count_problems(c, attributes.batched);
  int output = 0;
  c->set_output(output++, c->Matrix(count, n));                           // x
  c->set_output(output++, c->Vector(count));                              // fun
  c->set_output(output++, c->Matrix(count, n));                           // jac
  for (int i = 0; i < 5; ++i) c->set_output(output++, c->Vector(count));  // nit, nfev, njev, status, constr_violation
  c->set_output(output++, c->Matrix(count, attributes.num_constraints));  // multipliers
  for (int i = 0; i < 2; ++i) c->set_output(output++, c->Scalar());       // backend, backend_reason
  return absl::OkStatus();
}

template <typename OpAttributes>
absl::Status check_and_infer_shapes(InferenceContext* c) {
  try {
    return infer_shapes(c, OpAttributes(*c));
  } catch (const StatusError& error) {
    return error.status();
  }
}

using tensorflow::register_op::OpDefBuilderWrapper;

/// An op with the inputs, outputs and attributes that both have; these come first.
OpDefBuilderWrapper op(const char* name) {
  OpDefBuilderWrapper builder(name);
  for (const char* input : {"x0", "lower", "upper", "ftol", "gtol", "norm", "xrtol", "c1", "c2", "hess_inv0"}) {
    builder.Input(absl::StrCat(input, ": float64"));
  }
  for (const char* output : {"x: float64", "fun: float64", "jac: float64", "nit: int64", "nfev: int64", "njev: int64",
                             "status: int32", "constr_violation: float64", "multipliers: float64"}) {
    builder.Output(output);
  }
  return builder.Attr("functions: list(func) >= 1")
      .Attr("method: {'l-bfgs-b', 'slsqp', 'bfgs'} = 'l-bfgs-b'")
      .Attr("maxcor: int = 10")
      .Attr("storage: {'float64', 'float32'} = 'float64'")
      .Attr("maxfun: int = 15000")
      .Attr("maxiter: int = 15000")
      .Attr("maxls: int = 20")
      .Attr("update: {'bfgs', 'dfp', 'ssbfgs', 'ssbfgs-ol', 'ssbroyden', 'ssbroyden1'} = 'bfgs'")
      .Attr("initial_scale: bool = false")
      .Attr("maxtime: float = 3.4e38")
      .Attr("num_constraints: int >= 0 = 0")
      .Attr("num_equalities: int >= 0 = 0")
      .Attr("precision: {float32, float64} = DT_DOUBLE")
      .Attr("jit_compile: bool = false")
      .Attr("Tcaptures: list(type) >= 0 = []")
      .SetIsStateful();  // the functions that it calls may be
}

constexpr char kDocOfBoth[] = R"doc(ftol: SciPy's option of this name, for L-BFGS-B and SLSQP; 0 or greater.
gtol: SciPy's option of this name, for L-BFGS-B and BFGS.
norm: SciPy's option of this name, for BFGS only, like the next four.
xrtol: SciPy's option of this name; 0 or greater.
c1: SciPy's option of this name.
c2: SciPy's option of this name; 0 < c1 < c2 < 1.
hess_inv0: The inverse Hessian at the start, of shape [n, n], symmetric and positive definite; or of shape [0, 0].
nit: Iterations.
nfev: Evaluations of the function.
njev: Evaluations of its gradient.
constr_violation: The greatest violation of a constraint.
backend_reason: Why.
functions: For L-BFGS-B and BFGS one function, which returns the value [] and the gradient [n]. For SLSQP two: the first returns
  the value [] and the constraints [m], the second the value [], the constraints [m], the gradient [n] and the Jacobian
  of the constraints [m, n]. Everything is float64.
method: The solver.
maxcor: SciPy's option of this name, for L-BFGS-B only.
storage: The dtype in which L-BFGS-B keeps its correction pairs.
maxfun: SciPy's option of this name, for L-BFGS-B only.
maxiter: SciPy's option of this name.
maxls: SciPy's option of this name, for L-BFGS-B only.
update: How BFGS updates the inverse Hessian; see `tfminimize.minimize`.
initial_scale: Whether BFGS scales the identity before its first update.
maxtime: The seconds that the operation may take.
num_constraints: The number of constraints, m.
num_equalities: So many of the first constraints must be 0; the others must be 0 or greater.
precision: The dtype with the fewest digits among those that x is rounded to and that the functions compute in.
jit_compile: Whether the body of each function is one call of a function that XLA compiles. The operation then calls
  machine code, if it can be had.
)doc";

constexpr char kDoc[] = R"doc(
Minimises a function, with bounds and constraints.

The solvers are those of `tfminimize.minimize`; C++ calls the functions. All functions take x, of shape [n], and then
the captures.

x0: The start, of shape [n]; finite. It is projected into the bounds.
lower: Lower bounds, of shape [n], with -infinity for none. With no bounds at all, lower and upper have shape [0].
upper: Upper bounds, of shape [n], with infinity for none; or shape [0], like lower.
state: The state that the trace function gets in its first call.
captures: Inputs of all functions, after x.
x: The solution, of shape [n].
fun: The value there.
jac: The gradient there, of shape [n].
status: SciPy's integer; 0 if the solve converged, 99 if the trace function ended it.
multipliers: The multipliers of the constraints, of shape [num_constraints].
history: The record of the start and of each iteration, of shape [6, nit + 1]: the value, the greatest element of the
  projected gradient (of the Lagrangian, with constraints), the length of the step, the evaluations and the seconds so
  far, and the greatest violation of a constraint.
trace: What the trace function returned, stacked along a new first axis.
backend: What evaluated the functions: "xla", machine code without TensorFlow, or "tensorflow".
variables: The captures that are handles of the variables in x, in the order of x. The functions get the handles of
  other variables instead, which hold the values of x.
variable_dtypes: The dtypes of these variables.
variable_shapes: Their shapes.
trace_functions: At most one function. It is called after each iteration with x [n], the value [], the gradient [n], the
  state, and the captures. It returns a bool, whether to end the solve; the state for its next call; and what to trace.
trace_shapes: The shapes of what is traced.
trace_start: Whether the trace function is also called at the start; it cannot end the solve then.
)doc";

constexpr char kDocOfBatch[] = R"doc(
Minimises one function in B independent problems, with bounds and constraints.

The problems differ in their starts, their bounds, and the captures that are batched. Threads solve one after another;
the results do not depend on their number. All functions take x, of shape [n], and then the captures, with a slice of
each that is batched. If a function fails in a problem, so does the operation.

x0: The starts, of shape [B, n], or [1, n] for all; finite. They are projected into the bounds.
lower: Lower bounds, of shape [B, n], or [1, n] for all, with -infinity for none. With no bounds at all, lower and upper
  have shape [0, 0].
upper: Upper bounds, with infinity for none, of the shape of lower.
captures: Inputs of all functions, after x.
x: The solutions, of shape [B, n].
fun: The values there, of shape [B].
jac: The gradients there, of shape [B, n].
status: SciPy's integers; 0 if a solve converged.
multipliers: The multipliers of the constraints, of shape [B, num_constraints].
backend: What evaluated the functions: "xla", machine code without TensorFlow, or "tensorflow"; "none" if B is 0.
batched: The captures, tensors of numbers, whose first dimension is B. If there are none, B is that of x0 and the bounds.
num_threads: The number of threads; 0 for as many as tfminimize uses otherwise.
)doc";

const tensorflow::InitOnStartupMarker minimize_op = tensorflow::InitOnStartupMarker{}
                                                    << op("TfminimizeMinimize")
                                                           .Input("state: Tstate")
                                                           .Input("captures: Tcaptures")
                                                           .Output("history: float64")
                                                           .Output("trace: Ttrace")
                                                           .Output("backend: string")
                                                           .Output("backend_reason: string")
                                                           .Attr("variables: list(int) = []")
                                                           .Attr("variable_dtypes: list({float32, float64}) = []")
                                                           .Attr("variable_shapes: list(shape) = []")
                                                           .Attr("trace_functions: list(func) = []")
                                                           .Attr("trace_shapes: list(shape) = []")
                                                           .Attr("trace_start: bool = false")
                                                           .Attr("Tstate: list(type) >= 0 = []")
                                                           .Attr("Ttrace: list(type) >= 0 = []")
                                                           .SetShapeFn(check_and_infer_shapes<MinimizeAttributes>)
                                                           .Doc(absl::StrCat(kDoc, kDocOfBoth));

const tensorflow::InitOnStartupMarker minimize_batch_op = tensorflow::InitOnStartupMarker{}
                                                          << op("TfminimizeMinimizeBatch")
                                                                 .Input("captures: Tcaptures")
                                                                 .Output("backend: string")
                                                                 .Output("backend_reason: string")
                                                                 .Attr("batched: list(int) = []")
                                                                 .Attr("num_threads: int >= 0 = 0")
                                                                 .SetShapeFn(check_and_infer_shapes<BatchAttributes>)
                                                                 .Doc(absl::StrCat(kDocOfBatch, kDocOfBoth));

}  // namespace
}  // namespace tfminimize
