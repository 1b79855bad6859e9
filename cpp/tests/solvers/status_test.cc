#include "solvers/status.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace tfminimize::solvers {
namespace {

constexpr Status kAll[] = {Status::kRunning,          Status::kGradientConverged, Status::kFunctionConverged,
                           Status::kMaxIterations,    Status::kMaxEvaluations,    Status::kCallerStopped,
                           Status::kLineSearchFailed, Status::kGradientMismatch,  Status::kNonFiniteStart,
                           Status::kUnboundedBelow,   Status::kDiverged};

TEST(StatusTest, ConvergenceAndLimitsHaveTheMessagesOfSciPy) {
  // scipy/optimize/_lbfgsb_py.py of SciPy 1.17.1.
  EXPECT_STREQ(message(Status::kGradientConverged), "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL");
  EXPECT_STREQ(message(Status::kFunctionConverged), "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH");
  EXPECT_STREQ(message(Status::kMaxIterations), "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT");
  EXPECT_STREQ(message(Status::kMaxEvaluations), "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT");
}

TEST(StatusTest, EveryFailureIsAbnormal) {
  for (const Status status : {Status::kLineSearchFailed, Status::kGradientMismatch, Status::kNonFiniteStart,
                              Status::kUnboundedBelow, Status::kDiverged}) {
    EXPECT_EQ(std::string(message(status)).rfind("ABNORMAL: ", 0), 0U) << message(status);
    EXPECT_EQ(scipy_code(status), 2) << message(status);
  }
}

TEST(StatusTest, OnlyConvergenceIsSuccess) {
  for (const Status status : kAll) {
    const bool converged = status == Status::kGradientConverged || status == Status::kFunctionConverged;
    EXPECT_EQ(scipy_code(status) == 0, converged) << message(status);
  }
}

TEST(StatusTest, LimitsAndTheCallerHaveCodesOfTheirOwn) {
  EXPECT_EQ(scipy_code(Status::kMaxIterations), 1);
  EXPECT_EQ(scipy_code(Status::kMaxEvaluations), 1);
  EXPECT_EQ(scipy_code(Status::kCallerStopped), 99);
}

TEST(StatusTest, NoTwoMessagesAreAlike) {
  std::set<std::string> messages;
  for (const Status status : kAll) EXPECT_TRUE(messages.insert(message(status)).second) << message(status);
}

}  // namespace
}  // namespace tfminimize::solvers
