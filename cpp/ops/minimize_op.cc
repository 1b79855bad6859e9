#include <cstdint>
#include <vector>

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
  const ShapeHandle shape = c->input(input);
  if (!c->RankKnown(shape) || c->Rank(shape) == rank) return;
  fail(name, " has shape ", c->DebugString(shape), ": it must be a ", rank == 0 ? "scalar" : "vector", ".");
}

/// A bound has the shape of x0, or [0].
void check_bound(InferenceContext* c, int input, const char* name, DimensionHandle n) {
  check_rank(c, input, name, 1);
  if (!c->RankKnown(c->input(input))) return;
  const DimensionHandle size = c->Dim(c->input(input), 0);
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

absl::Status infer_shapes(InferenceContext* c, const Attributes& attributes) {
  check_rank(c, 0, "x0", 1);
  ShapeHandle x;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &x));
  const DimensionHandle n = c->Dim(x, 0);
  if (c->ValueKnown(n)) attributes.check_size(c->Value(n));
  check_bound(c, 1, "lower", n);
  check_bound(c, 2, "upper", n);
  check_rank(c, 3, "ftol", 0);
  check_rank(c, 4, "gtol", 0);
  check_rank(c, 5, "norm", 0);
  check_rank(c, 6, "xrtol", 0);
  check_rank(c, 7, "c1", 0);
  check_rank(c, 8, "c2", 0);
  check_matrix(c, 9, "hess_inv0", n);
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

absl::Status check_and_infer_shapes(InferenceContext* c) {
  try {
    return infer_shapes(c, Attributes(*c));
  } catch (const StatusError& error) {
    return error.status();
  }
}

}  // namespace

REGISTER_OP("TfminimizeMinimize")
    .Input("x0: float64")
    .Input("lower: float64")
    .Input("upper: float64")
    .Input("ftol: float64")
    .Input("gtol: float64")
    .Input("norm: float64")
    .Input("xrtol: float64")
    .Input("c1: float64")
    .Input("c2: float64")
    .Input("hess_inv0: float64")
    .Input("state: Tstate")
    .Input("captures: Tcaptures")
    .Output("x: float64")
    .Output("fun: float64")
    .Output("jac: float64")
    .Output("nit: int64")
    .Output("nfev: int64")
    .Output("njev: int64")
    .Output("status: int32")
    .Output("constr_violation: float64")
    .Output("multipliers: float64")
    .Output("history: float64")
    .Output("trace: Ttrace")
    .Output("backend: string")
    .Output("backend_reason: string")
    .Attr("functions: list(func) >= 1")
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
    .Attr("variables: list(int) = []")
    .Attr("variable_dtypes: list({float32, float64}) = []")
    .Attr("variable_shapes: list(shape) = []")
    .Attr("precision: {float32, float64} = DT_DOUBLE")
    .Attr("jit_compile: bool = false")
    .Attr("trace_functions: list(func) = []")
    .Attr("trace_shapes: list(shape) = []")
    .Attr("trace_start: bool = false")
    .Attr("Tstate: list(type) >= 0 = []")
    .Attr("Tcaptures: list(type) >= 0 = []")
    .Attr("Ttrace: list(type) >= 0 = []")
    .SetIsStateful()  // the functions that it calls may be
    .SetShapeFn(check_and_infer_shapes)
    .Doc(R"doc(
Minimises a function, with bounds and constraints.

The solvers are those of `tfminimize.minimize`; C++ calls the functions. All functions take x, of shape [n], and then
the captures.

x0: The start, of shape [n]; finite. It is projected into the bounds.
lower: Lower bounds, of shape [n], with -infinity for none. With no bounds at all, lower and upper have shape [0].
upper: Upper bounds, of shape [n], with infinity for none; or shape [0], like lower.
ftol: SciPy's option of this name, for L-BFGS-B and SLSQP; 0 or greater.
gtol: SciPy's option of this name, for L-BFGS-B and BFGS.
norm: SciPy's option of this name, for BFGS only, like the next four.
xrtol: SciPy's option of this name; 0 or greater.
c1: SciPy's option of this name.
c2: SciPy's option of this name; 0 < c1 < c2 < 1.
hess_inv0: The inverse Hessian at the start, of shape [n, n], symmetric and positive definite; or of shape [0, 0].
state: The state that the trace function gets in its first call.
captures: Inputs of all functions, after x.
x: The solution, of shape [n].
fun: The value there.
jac: The gradient there, of shape [n].
nit: Iterations.
nfev: Evaluations of the function.
njev: Evaluations of its gradient.
status: SciPy's integer; 0 if the solve converged, 99 if the trace function ended it.
constr_violation: The greatest violation of a constraint.
multipliers: The multipliers of the constraints, of shape [num_constraints].
history: The record of the start and of each iteration, of shape [6, nit + 1]: the value, the greatest element of the
  projected gradient (of the Lagrangian, with constraints), the length of the step, the evaluations and the seconds so
  far, and the greatest violation of a constraint.
trace: What the trace function returned, stacked along a new first axis.
backend: What evaluated the functions: "xla", machine code without TensorFlow, or "tensorflow".
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
maxtime: The seconds that a solve may take.
num_constraints: The number of constraints, m.
num_equalities: So many of the first constraints must be 0; the others must be 0 or greater.
variables: The captures that are handles of the variables in x, in the order of x. The functions get the handles of
  other variables instead, which hold the values of x.
variable_dtypes: The dtypes of these variables.
variable_shapes: Their shapes.
precision: The dtype with the fewest digits among those that x is rounded to and that the functions compute in.
jit_compile: Whether the body of each function is one call of a function that XLA compiles. The operation then calls
  machine code, if it can be had.
trace_functions: At most one function. It is called after each iteration with x [n], the value [], the gradient [n], the
  state, and the captures. It returns a bool, whether to end the solve; the state for its next call; and what to trace.
trace_shapes: The shapes of what is traced.
trace_start: Whether the trace function is also called at the start; it cannot end the solve then.
)doc");

}  // namespace tfminimize
