#ifndef TFMINIMIZE_BINDINGS_SLSQP_H_
#define TFMINIMIZE_BINDINGS_SLSQP_H_

#include "bindings/solver.h"
#include "solvers/slsqp/slsqp.h"

namespace tfminimize {

/// The arrays of the constraints.
struct ConstraintArrays {
  py::array constraints;
  py::array jacobian;
  std::optional<py::array> offsets;
};

/// SLSQP as Python holds it.
class PySlsqp : public PySolver<solvers::Slsqp> {
 public:
  /// `problem` is the memory of the arrays, see slsqp_problem().
  PySlsqp(SolverArrays arrays, ConstraintArrays constraint_arrays, const solvers::SlsqpProblem& problem,
          const solvers::SlsqpOptions& options);

  const py::array& constraints() const { return constraint_arrays_.constraints; }
  const py::array& jacobian() const { return constraint_arrays_.jacobian; }
  const solvers::SlsqpProblem& problem() const { return problem_; }

 private:
  ConstraintArrays constraint_arrays_;
  solvers::SlsqpProblem problem_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_SLSQP_H_
