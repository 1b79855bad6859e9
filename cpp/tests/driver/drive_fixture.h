#ifndef TFMINIMIZE_TESTS_DRIVER_DRIVE_FIXTURE_H_
#define TFMINIMIZE_TESTS_DRIVER_DRIVE_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "driver/drive.h"
#include "objectives/host_objective.h"
#include "solvers/lbfgsb/lbfgsb.h"
#include "solvers/slsqp/slsqp.h"
#include "tests/driver/memory.h"

namespace tfminimize::testing {

/// Records what is evaluated, and may fail.
class Noted : public Objective {
 public:
  explicit Noted(bool joint) : joint_(joint) {}

  double evaluate(Span<const double> x, const Buffers& to) override {
    if (!joint_) return Objective::evaluate(x, to);
    note("both", x);
    differentiate(x, to);
    return value(x, to);
  }
  double values(Span<const double> x, const Buffers& to) override {
    note("values", x);
    return value(x, to);
  }
  void derivatives(Span<const double> x, const Buffers& to) override {
    note("derivatives", x);
    differentiate(x, to);
  }
  bool is_joint() const override { return joint_; }

  std::int64_t count(const std::string& kind) const { return std::count(calls.begin(), calls.end(), kind); }

  std::vector<std::string> calls;        ///< What was evaluated, in order.
  std::string failing;                   ///< The kind of evaluation that throws from its second call on.
  std::vector<double> last_derivatives;  ///< x where the derivatives were last evaluated.

 protected:
  virtual double value(Span<const double> x, const Buffers& to) const = 0;
  virtual void differentiate(Span<const double> x, const Buffers& to) const = 0;

 private:
  void note(const std::string& kind, Span<const double> x) {
    calls.push_back(kind);
    if (kind == failing && calls.size() > 1) throw std::domain_error(kind);
    if (kind != "values") last_derivatives.assign(x.begin(), x.end());
  }

  bool joint_;
};

/// f(x) = sum of (i + 1) (x[i] - 1)^2 / 2. Its minimum is at 1.
class Quadratic final : public Noted {
 public:
  using Noted::Noted;

 private:
  double value(Span<const double> x, const Buffers& /*to*/) const override {
    double f = 0;
    for (std::size_t i = 0; i < x.size(); ++i) f += 0.5 * static_cast<double>(i + 1) * (x[i] - 1) * (x[i] - 1);
    return f;
  }
  void differentiate(Span<const double> x, const Buffers& to) const override {
    for (std::size_t i = 0; i < x.size(); ++i) to.gradient[i] = static_cast<double>(i + 1) * (x[i] - 1);
  }
};

/// Rosenbrock's function on the circle of radius √2, beyond the line x + y = 1: its minimum is at (1, 1).
class OnACircle final : public Noted {
 public:
  using Noted::Noted;

 private:
  double value(Span<const double> x, const Buffers& to) const override {
    to.constraints[0] = x[0] * x[0] + x[1] * x[1] - 2;
    to.constraints[1] = x[0] + x[1] - 1;
    return 100 * std::pow(x[1] - x[0] * x[0], 2) + std::pow(1 - x[0], 2);
  }
  void differentiate(Span<const double> x, const Buffers& to) const override {
    const double residual = x[1] - x[0] * x[0];
    to.gradient[0] = -400 * x[0] * residual - 2 * (1 - x[0]);
    to.gradient[1] = 200 * residual;
    double* row = to.jacobian.data();
    row[0] = 2 * x[0];
    row[1] = 2 * x[1];
    row += to.stride;
    row[0] = 1;
    row[1] = 1;
  }
};

/// A problem, a method and how the objective evaluates.
struct Kind {
  const char* name;
  bool constrained;
  bool is_slsqp;
  bool joint;
};

/// Options of a solver; each method takes those that it knows.
struct Options {
  double tolerance = -1;  ///< Negative for the defaults.
  std::int64_t maxiter = 1000;
  double maxtime = std::numeric_limits<double>::infinity();
};

/// A solver with its own memory, at the start.
class Solve {
 public:
  explicit Solve(const Kind& kind, const Options& options = {})
      : memory_(kind.constrained ? std::vector<double>{0.5, 2} : std::vector<double>(20, 0.0),
                kind.constrained ? 2 : 0),
        problem(memory_.problem(kind.constrained ? 1 : 0)) {
    if (kind.is_slsqp) {
      solvers::SlsqpOptions own;
      if (options.tolerance >= 0) own.ftol = options.tolerance;
      own.maxiter = options.maxiter;
      own.maxtime = options.maxtime;
      solver = std::make_unique<solvers::Slsqp>(problem, own);
    } else {
      solvers::LbfgsbOptions own;
      if (options.tolerance >= 0) own.ftol = own.gtol = options.tolerance;
      own.maxiter = options.maxiter;
      own.maxtime = options.maxtime;
      solver = std::make_unique<solvers::Lbfgsb>(problem, own);
    }
  }

  Timing drive_with(Objective& objective, const Callbacks& callbacks = {}) {
    return drive(*solver, problem, objective, callbacks);
  }
  Timing drive_with(Objective& objective, std::function<bool()> on_iteration) {
    Callbacks callbacks;
    callbacks.on_iteration = std::move(on_iteration);
    return drive_with(objective, callbacks);
  }
  Timing poll_with(Objective& objective, InterruptPoll poll) {
    Callbacks callbacks;
    callbacks.poll = std::move(poll);
    return drive_with(objective, callbacks);
  }

  std::vector<double> x() const { return memory_.x(); }

 private:
  Memory memory_;

 public:
  solvers::Problem problem;
  std::unique_ptr<solvers::Solver> solver;
};

inline std::unique_ptr<Noted> make_objective(const Kind& kind) {
  if (kind.constrained) return std::make_unique<OnACircle>(kind.joint);
  return std::make_unique<Quadratic>(kind.joint);
}

inline constexpr Kind kCircle{"", true, true, false};
inline constexpr Kind kJointCircle{"", true, true, true};
inline constexpr Kind kQuadratic{"", false, false, true};

/// A test of each kind of solve.
class Driven : public ::testing::TestWithParam<Kind> {
 protected:
  Noted& objective() { return *objective_; }

 private:
  std::unique_ptr<Noted> objective_ = make_objective(GetParam());
};

/// The kinds that a suite of `Driven` runs for.
inline auto kinds() {
  return ::testing::Values(Kind{"lbfgsb", false, false, true}, Kind{"lbfgsb_separate", false, false, false},
                           Kind{"slsqp_unconstrained", false, true, true}, Kind{"slsqp", true, true, true},
                           Kind{"slsqp_separate", true, true, false});
}
inline std::string name_of(const ::testing::TestParamInfo<Kind>& kind) { return kind.param.name; }

}  // namespace tfminimize::testing

#endif  // TFMINIMIZE_TESTS_DRIVER_DRIVE_FIXTURE_H_
