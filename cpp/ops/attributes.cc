#include "ops/attributes.h"

#include <limits>
#include <set>
#include <string>

#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/util/overflow.h"

namespace tfminimize {
namespace {

constexpr std::int64_t kMaxInteger = std::numeric_limits<std::int64_t>::max();

void check_range(const char* name, std::int64_t value, std::int64_t least, std::int64_t most = kMaxInteger) {
  if (value >= least && value <= most) return;
  fail(name, " is ", value, ": it must be ", least,
       most == kMaxInteger ? std::string(" or greater") : absl::StrCat(" to ", most), ".");
}

/// Throws unless a list has the expected length; `reason` says why it is expected.
void check_length(const char* name, std::size_t length, std::size_t expected, const char* reason) {
  if (length != expected) fail(name, " has ", length, " entries: it must have ", expected, ", ", reason, ".");
}

/// Throws unless `list[i]` is the number of one of so many captures that no earlier entry has.
void check_capture(const char* list, std::size_t i, std::int64_t capture, std::size_t count,
                   std::set<std::int64_t>& seen) {
  if (capture < 0 || to_size(capture) >= count) {
    fail(list, "[", i, "] is ", capture, ": it must be the number of a capture, and there are ", count, ".");
  }
  if (!seen.insert(capture).second) fail(list, "[", i, "] is ", capture, ", like an earlier one: give each once.");
}

std::vector<tensorflow::DataType> doubles(std::size_t count) {
  std::vector<tensorflow::DataType> dtypes(count, tensorflow::DT_DOUBLE);
  return dtypes;
}

}  // namespace

template <typename Context>
Attributes::Attributes(const Context& context) {
  const auto get = [&context](const char* name, auto* value) { check(context.GetAttr(name, value)); };
  std::string name;
  get("method", &name);
  method = name == "slsqp" ? Method::kSlsqp : name == "bfgs" ? Method::kBfgs : Method::kLbfgsb;
  get("functions", &functions);
  get("maxcor", &lbfgsb.maxcor);
  std::string storage;
  get("storage", &storage);
  if (storage == "float32") lbfgsb.storage = solvers::Storage::kFloat32;
  get("maxfun", &lbfgsb.maxfun);
  get("maxiter", &lbfgsb.maxiter);
  get("maxls", &lbfgsb.maxls);
  slsqp.maxiter = lbfgsb.maxiter;
  bfgs.maxiter = lbfgsb.maxiter;
  get("update", &name);
  bfgs.update = solvers::bfgs_update_named(name).value_or(solvers::BfgsUpdate::kBfgs);  // the op knows the names too
  get("initial_scale", &bfgs.initial_scale);
  float maxtime = 0;
  get("maxtime", &maxtime);
  if (!(maxtime > 0)) fail("maxtime is ", maxtime, ": it must be greater than 0.");
  lbfgsb.maxtime = slsqp.maxtime = bfgs.maxtime = static_cast<double>(maxtime);
  get("num_constraints", &num_constraints);
  get("num_equalities", &num_equalities);
  tensorflow::DataType precision{};
  get("precision", &precision);
  if (precision == tensorflow::DT_FLOAT) lbfgsb.precision = std::numeric_limits<float>::epsilon();
  slsqp.precision = bfgs.precision = lbfgsb.precision;
  get("jit_compile", &jit_compile);
  get("Tcaptures", &capture_dtypes);
  check_counts();
}

template <typename Context>
MinimizeAttributes::MinimizeAttributes(const Context& context) : Attributes(context) {
  const auto get = [&context](const char* name, auto* value) { check(context.GetAttr(name, value)); };
  get("trace_functions", &trace_functions);
  get("trace_start", &trace_start);
  get("trace_shapes", &trace_shapes);
  get("Tstate", &state_dtypes);
  get("Ttrace", &trace_dtypes);
  std::vector<std::int64_t> captures;
  std::vector<tensorflow::DataType> dtypes;
  std::vector<tensorflow::PartialTensorShape> shapes;
  get("variables", &captures);
  get("variable_dtypes", &dtypes);
  get("variable_shapes", &shapes);
  check_length("variable_dtypes", dtypes.size(), captures.size(), "as many as variables");
  check_length("variable_shapes", shapes.size(), captures.size(), "as many as variables");
  for (std::size_t i = 0; i < captures.size(); ++i) variables.push_back({captures[i], 0, dtypes[i], shapes[i]});
  check_variables();
  check_trace();
}

template <typename Context>
BatchAttributes::BatchAttributes(const Context& context) : Attributes(context) {
  std::vector<std::int64_t> captures;
  check(context.GetAttr("batched", &captures));
  check_batched(captures);
  std::int64_t threads = 0;
  check(context.GetAttr("num_threads", &threads));
  check_range("num_threads", threads, 0);
  num_threads = to_size(threads);
}

template MinimizeAttributes::MinimizeAttributes(const tensorflow::OpKernelConstruction&);
template MinimizeAttributes::MinimizeAttributes(const tensorflow::shape_inference::InferenceContext&);
template BatchAttributes::BatchAttributes(const tensorflow::OpKernelConstruction&);
template BatchAttributes::BatchAttributes(const tensorflow::shape_inference::InferenceContext&);

const char* Attributes::reason() const {
  switch (method) {
    case Method::kLbfgsb:
      return "since method is l-bfgs-b";
    case Method::kSlsqp:
      return "since method is slsqp";
    case Method::kBfgs:
      return "since method is bfgs";
  }
  return "";
}

void Attributes::check_counts() const {
  check_length("functions", functions.size(), is_constrained() ? 2 : 1, reason());
  check_range("maxcor", lbfgsb.maxcor, 1);  // the solver knows the upper limit
  check_range("maxfun", lbfgsb.maxfun, 0);
  check_range("maxiter", lbfgsb.maxiter, 0);
  check_range("maxls", lbfgsb.maxls, 1);
  if (!is_constrained() && num_constraints != 0) {
    fail("num_constraints is ", num_constraints, ": it must be 0, ", reason(), ".");
  }
  check_range("num_constraints", num_constraints, 0);
  check_range("num_equalities", num_equalities, 0, num_constraints);
}

void MinimizeAttributes::check_variables() {
  std::set<std::int64_t> seen;
  for (std::size_t i = 0; i < variables.size(); ++i) {
    VariableComponent& variable = variables[i];
    const std::int64_t capture = variable.capture;
    check_capture("variables", i, capture, capture_dtypes.size(), seen);
    if (capture_dtypes[to_size(capture)] != tensorflow::DT_RESOURCE) {
      fail("variables[", i, "] is ", capture, ": that capture must be the handle of a variable, but its dtype is ",
           tensorflow::DataTypeString(capture_dtypes[to_size(capture)]), ".");
    }
    if (variable.dtype != tensorflow::DT_FLOAT && variable.dtype != tensorflow::DT_DOUBLE) {
      fail("variable_dtypes[", i, "] is ", tensorflow::DataTypeString(variable.dtype),
           ": it must be float32 or float64.");
    }
    const std::int64_t size = variable.shape.num_elements();
    if (size < 0) fail("variable_shapes[", i, "] is ", variable.shape.DebugString(), ": it must be static.");
    variable.offset = to_size(variables_size);
    variables_size = tensorflow::AddWithoutOverflow(variables_size, size);
    if (variables_size < 0) {
      fail("variable_shapes[", i, "] is ", variable.shape.DebugString(),
           ": that is more elements than can be counted.");
    }
  }
}

void BatchAttributes::check_batched(const std::vector<std::int64_t>& given) {
  std::set<std::int64_t> seen;
  for (std::size_t i = 0; i < given.size(); ++i) {
    check_capture("batched", i, given[i], capture_dtypes.size(), seen);
    const tensorflow::DataType dtype = capture_dtypes[to_size(given[i])];
    if (!tensorflow::DataTypeCanUseMemcpy(dtype)) {
      fail("batched[", i, "] is ", given[i], ": that capture must hold numbers, but its dtype is ",
           tensorflow::DataTypeString(dtype), ".");
    }
    batched.push_back(to_size(given[i]));
  }
}

void MinimizeAttributes::check_trace() const {
  if (trace_functions.size() > 1) {
    fail("trace_functions has ", trace_functions.size(), " entries: it must have none or one.");
  }
  check_length("trace_shapes", trace_shapes.size(), trace_dtypes.size(), "as many as Ttrace");
  if (trace_functions.empty()) {
    check_length("Ttrace", trace_dtypes.size(), 0, "since trace_functions is empty");
    check_length("Tstate", state_dtypes.size(), 0, "since trace_functions is empty");
  }
  for (std::size_t i = 0; i < trace_shapes.size(); ++i) {
    tensorflow::TensorShape shape;
    if (!trace_shapes[i].AsTensorShape(&shape)) {
      fail("trace_shapes[", i, "] is ", trace_shapes[i].DebugString(), ": it must be static.");
    }
    if (!shape.InsertDimWithStatus(0, 1).ok()) {
      fail("trace_shapes[", i, "] is ", trace_shapes[i].DebugString(), ": with one more, it has too many dimensions.");
    }
  }
}

std::vector<Signature> Attributes::signatures() const {
  std::vector<tensorflow::DataType> arguments{tensorflow::DT_DOUBLE};
  arguments.insert(arguments.end(), capture_dtypes.begin(), capture_dtypes.end());
  const Signature first{arguments, doubles(2)};
  if (!is_constrained()) return {first};
  return {first, {arguments, doubles(4)}};
}

std::vector<std::vector<std::vector<std::size_t>>> Attributes::result_shapes(std::size_t n) const {
  const std::size_t m = to_size(num_constraints);
  if (is_constrained()) return {{{}, {m}}, {{}, {m}, {n}, {m, n}}};
  return {{{}, {n}}};
}

Signature MinimizeAttributes::trace_signature() const {
  Signature signature{doubles(3), {tensorflow::DT_BOOL}};
  for (const auto* dtypes : {&state_dtypes, &capture_dtypes}) {
    signature.arguments.insert(signature.arguments.end(), dtypes->begin(), dtypes->end());
  }
  for (const auto* dtypes : {&state_dtypes, &trace_dtypes}) {
    signature.results.insert(signature.results.end(), dtypes->begin(), dtypes->end());
  }
  return signature;
}

std::vector<FunctionAttribute> MinimizeAttributes::called() const {
  std::vector<FunctionAttribute> all = Attributes::called();
  all.push_back({"trace_functions", trace_functions, {trace_signature()}});
  return all;
}

void Attributes::check_size(std::int64_t size) const {
  if (size == 0) fail("x0 has no elements: it must have one.");
}

void MinimizeAttributes::check_size(std::int64_t x0_size) const {
  Attributes::check_size(x0_size);
  if (variables.empty() || variables_size == x0_size) return;
  fail("variable_shapes have ", variables_size, " elements in all: they must have ", x0_size, ", as many as x0.");
}

}  // namespace tfminimize
