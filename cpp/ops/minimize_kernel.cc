#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>

#include "driver/drive.h"
#include "driver/history.h"
#include "ops/attributes.h"
#include "ops/evaluator.h"
#include "ops/function_library.h"
#include "ops/kernel_values.h"
#include "ops/solve_history.h"
#include "ops/solve_kernel.h"
#include "ops/solver_memory.h"
#include "solvers/problem.h"
#include "solvers/solver.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/tstring.h"

namespace tfminimize {
namespace {

using tensorflow::OpKernelContext;

/// One solve, with the memory that the solver works on.
class Solve {
 public:
  Solve(const Run& run, const MinimizeAttributes& attributes)
      : run_(run),
        context_(run.context),
        attributes_(attributes),
        start_(start()),
        lower_(bound("lower")),
        upper_(bound("upper")),
        memory_(attributes, start_.size(), lower_, upper_),
        problem_(memory_.problem()) {
    check_start();
    std::copy(start_.begin(), start_.end(), problem_.x.begin());
  }

  void run() {
    const Captures captures{list_input(context_, "captures"), attributes_.variables};
    const Backend backend(run_, attributes_, start_.size(), captures);
    Evaluator evaluator(backend, run_, attributes_, start_.size(), captures);
    const std::size_t trace_function = attributes_.functions.size();
    SolveHistory trace(run_.functions.size() > trace_function ? &evaluator.function(trace_function) : nullptr,
                       evaluator.inputs(), list_input(context_, "state"), attributes_.trace_shapes);
    const std::unique_ptr<solvers::Solver> solver = make_solver(attributes_, context_, problem_);
    Callbacks callbacks;
    if (trace.has_function()) {
      if (attributes_.trace_start) {
        callbacks.on_start = [&](double f) { trace.call(problem_.x, f, problem_.gradient); };
      }
      callbacks.on_iteration = [&] { return trace.call(problem_.x, solver->fun(), problem_.gradient); };
      callbacks.reads_derivatives = true;
    }
    callbacks.poll = poll_of(context_);
    callbacks.poll();
    History record;
    record.keeps_rows = true;
    const Timing timing = drive(*solver, problem_, evaluator.objective(), callbacks, &record);
    set_solution(*solver);
    set_history(record);
    set_trace(trace);
    set_backend(context_, backend);
    look_for_compilations(run_, attributes_, backend, timing.evaluate - timing.first, solver->nfev() - 1, problem_,
                          evaluator.objective());
  }

 private:
  Span<const double> start() const {
    const Span<const double> x0 = vector_input(context_, "x0");
    attributes_.check_size(static_cast<std::int64_t>(x0.size()));
    return x0;
  }

  Span<const double> bound(const char* name) const {
    const Span<const double> values = vector_input(context_, name);
    if (!values.empty() && values.size() != start_.size()) {
      fail(name, " has ", values.size(), " elements, but x0 has ", start_.size(), ".");
    }
    return values;
  }

  void check_start() const {
    for (std::size_t i = 0; i < start_.size(); ++i) {
      if (!std::isfinite(start_[i])) fail("x0[", i, "] is ", start_[i], " at the start: give a finite value.");
    }
    if (lower_.size() != upper_.size()) {
      fail("lower has ", lower_.size(), " elements and upper ", upper_.size(), ": give both, or neither.");
    }
    check_bounds(lower_, upper_, [](std::size_t i) { return absl::StrCat("element ", i, " of x"); });
  }

  void set_solution(const solvers::Solver& solver) {
    const auto set = [this](const char* name, Span<const double> values) {
      const Span<double> target = output<double>(context_, name, {static_cast<std::int64_t>(values.size())});
      std::copy(values.begin(), values.end(), target.begin());
    };
    set("x", problem_.x);
    set("jac", problem_.gradient);
    set("multipliers", solver.multipliers());
    set_scalar(context_, "fun", solver.fun());
    set_scalar(context_, "nit", solver.nit());
    set_scalar(context_, "nfev", solver.nfev());
    set_scalar(context_, "njev", solver.njev());
    set_scalar(context_, "status", static_cast<std::int32_t>(solver.status_code()));
    set_scalar(context_, "constr_violation", solver.constr_violation());
  }

  void set_history(const History& record) {
    const auto rows = static_cast<std::int64_t>(record.rows.size());
    double* value = output<double>(context_, "history", {count_history_columns(), rows}).data();
    for_each_column([&](const char* /*name*/, auto member) {
      for (const History::Row& row : record.rows) *value++ = static_cast<double>(row.*member);
    });
  }

  void set_trace(const SolveHistory& trace) {
    tensorflow::OpOutputList traced;
    check(context_.output_list("trace", &traced));
    for (int i = 0; i < traced.size(); ++i) {
      tensorflow::Tensor* stacked = nullptr;
      check(traced.allocate(i, trace.stacked_shape(to_size(i)), &stacked));
      trace.stack(to_size(i), *stacked);
    }
  }

  Run run_;
  OpKernelContext& context_;
  const MinimizeAttributes& attributes_;
  Span<const double> start_;
  Span<const double> lower_;
  Span<const double> upper_;
  SolverMemory memory_;
  const solvers::Problem& problem_;
};

using MinimizeKernel = SolveKernel<MinimizeAttributes, Solve>;

REGISTER_KERNEL_BUILDER(Name("TfminimizeMinimize").Device(tensorflow::DEVICE_CPU), MinimizeKernel);

}  // namespace
}  // namespace tfminimize
