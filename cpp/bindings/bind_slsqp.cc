#include <pybind11/native_enum.h>

#include "bindings/solver.h"
#include "solvers/slsqp/slsqp.h"

namespace tfminimize::bindings {
namespace {

void register_status(py::module_& m) {
  py::native_enum<solvers::SlsqpStatus>(m, "SlsqpStatus", "enum.Enum",
                                        "How a solve by Slsqp ended, or that it has not.")
      .value("RUNNING", solvers::SlsqpStatus::kRunning)
      .value("CONVERGED", solvers::SlsqpStatus::kConverged)
      .value("TOO_MANY_EQUALITIES", solvers::SlsqpStatus::kTooManyEqualities)
      .value("SUBPROBLEM_LIMIT", solvers::SlsqpStatus::kSubproblemLimit)
      .value("INCONSISTENT", solvers::SlsqpStatus::kInconsistent)
      .value("SINGULAR_EQUALITIES", solvers::SlsqpStatus::kSingularEqualities)
      .value("NO_DESCENT", solvers::SlsqpStatus::kNoDescent)
      .value("MAX_ITERATIONS", solvers::SlsqpStatus::kMaxIterations)
      .value("MAX_TIME", solvers::SlsqpStatus::kMaxTime)
      .value("CALLER_STOPPED", solvers::SlsqpStatus::kCallerStopped)
      .value("NON_FINITE_START", solvers::SlsqpStatus::kNonFiniteStart)
      .value("NON_FINITE_DERIVATIVES", solvers::SlsqpStatus::kNonFiniteDerivatives)
      .value("NON_FINITE_SEARCH", solvers::SlsqpStatus::kNonFiniteSearch)
      .value("UNBOUNDED_BELOW", solvers::SlsqpStatus::kUnboundedBelow)
      .value("GRADIENT_MISMATCH", solvers::SlsqpStatus::kGradientMismatch)
      .finalize();
}

}  // namespace

void register_slsqp(py::module_& m) {
  register_status(m);
  using Options = solvers::SlsqpOptions;
  const OptionList<Options> options{{"ftol", &Options::ftol},
                                    {"maxiter", &Options::maxiter},
                                    {"maxtime", &Options::maxtime},
                                    {"precision", &Options::precision}};
  bind_solver<solvers::Slsqp>(m, "Slsqp",
                              "Sequential least squares programming. Its multipliers are those of the last "
                              "quadratic subproblem.",
                              options)
      .def_static(
          "check_memory", &solvers::Slsqp::check_memory, py::arg("n"), py::arg("m"), py::arg("count") = 1,
          "Raises MemoryError if the memory does not suffice for `count` solvers of n variables and m constraints.");
}

}  // namespace tfminimize::bindings
