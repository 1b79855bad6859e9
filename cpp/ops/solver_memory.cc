#include "ops/solver_memory.h"

#include <limits>
#include <new>

#include "ops/kernel_values.h"

namespace tfminimize {
namespace {

using tensorflow::OpKernelContext;

std::size_t jacobian_size(std::size_t n, std::size_t m) {
  const std::size_t stride = solvers::Problem::stride(n);
  if (m > std::numeric_limits<std::size_t>::max() / sizeof(double) / stride) throw std::bad_alloc();
  return m * stride;
}

solvers::LbfgsbOptions lbfgsb_options(const Attributes& attributes, OpKernelContext& context) {
  solvers::LbfgsbOptions options = attributes.lbfgsb;
  options.ftol = number_input(context, "ftol", 0);
  options.gtol = number_input(context, "gtol");
  return options;
}

solvers::SlsqpOptions slsqp_options(const Attributes& attributes, OpKernelContext& context) {
  solvers::SlsqpOptions options = attributes.slsqp;
  options.ftol = number_input(context, "ftol", 0);
  return options;
}

solvers::BfgsOptions bfgs_options(const Attributes& attributes, OpKernelContext& context, std::size_t n) {
  solvers::BfgsOptions options = attributes.bfgs;
  options.gtol = number_input(context, "gtol");
  options.norm = number_input(context, "norm");
  options.xrtol = number_input(context, "xrtol", 0);
  options.c1 = number_input(context, "c1");
  options.c2 = number_input(context, "c2");
  options.hess_inv0 = inverse_hessian_input(context, "hess_inv0", n);
  if (options.norm == 0) fail("norm is 0: it must be the order of a norm, such as 2.");
  return options;
}

}  // namespace

SolverMemory::SolverMemory(const Attributes& attributes, std::size_t n, Span<const double> lower,
                           Span<const double> upper)
    : x_(Doubles::zeros(n)),
      gradient_(Doubles::zeros(n)),
      constraints_(Doubles::zeros(to_size(attributes.num_constraints))),
      jacobian_(Doubles::zeros(jacobian_size(n, constraints_.size()))) {
  problem_.x = x_.span();
  problem_.gradient = gradient_.span();
  problem_.constraints = constraints_.span();
  problem_.jacobian = jacobian_.span();
  problem_.num_equalities = to_size(attributes.num_equalities);
  problem_.lower = lower;
  problem_.upper = upper;
}

std::unique_ptr<solvers::Solver> make_solver(const Attributes& attributes, OpKernelContext& context,
                                             const solvers::Problem& problem) {
  switch (attributes.method) {
    case Method::kSlsqp:
      return std::make_unique<solvers::Slsqp>(problem, slsqp_options(attributes, context));
    case Method::kBfgs:
      return std::make_unique<solvers::Bfgs>(problem, bfgs_options(attributes, context, problem.x.size()));
    case Method::kLbfgsb:
      break;
  }
  return std::make_unique<solvers::Lbfgsb>(problem, lbfgsb_options(attributes, context));
}

}  // namespace tfminimize
