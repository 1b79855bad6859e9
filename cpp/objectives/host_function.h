#ifndef TFMINIMIZE_OBJECTIVES_HOST_FUNCTION_H_
#define TFMINIMIZE_OBJECTIVES_HOST_FUNCTION_H_

#include <functional>

#include "objectives/objective.h"

namespace tfminimize {

/// A function of the host: anything that can be called from C++ and writes the gradient itself.
class HostFunction final : public Objective {
 public:
  using Function = std::function<double(Span<const double> x, Span<double> g)>;

  explicit HostFunction(Function function);

  double evaluate(Span<const double> x, Span<double> g) override;

 private:
  Function function_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_HOST_FUNCTION_H_
