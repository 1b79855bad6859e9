#ifndef TFMINIMIZE_OBJECTIVES_CONSTRAINED_HOST_FUNCTION_H_
#define TFMINIMIZE_OBJECTIVES_CONSTRAINED_HOST_FUNCTION_H_

#include <functional>

#include "objectives/constrained_objective.h"

namespace tfminimize {

/// Functions of the host: anything that can be called from C++ and writes the results itself. The derivatives are never
/// evaluated before they are asked for.
class ConstrainedHostFunction final : public ConstrainedObjective {
 public:
  using Values = std::function<double(Span<const double> x, Span<double> c)>;
  using Differentiate = std::function<void(Span<const double> x, const Derivatives& derivatives)>;

  /// Throws std::invalid_argument if one of them is empty.
  ConstrainedHostFunction(Values values, Differentiate differentiate);

  double evaluate_values(Span<const double> x, Span<double> c) override { return values_(x, c); }
  void evaluate_derivatives(Span<const double> x, const Derivatives& derivatives) override {
    differentiate_(x, derivatives);
  }

 private:
  Values values_;
  Differentiate differentiate_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_CONSTRAINED_HOST_FUNCTION_H_
