#ifndef TFMINIMIZE_OBJECTIVES_HOST_OBJECTIVE_H_
#define TFMINIMIZE_OBJECTIVES_HOST_OBJECTIVE_H_

#include <functional>

#include "objectives/objective.h"

namespace tfminimize {

/// Functions of the host: anything that can be called from C++ and writes the results itself.
class HostObjective final : public Objective {
 public:
  using Values = std::function<double(Span<const double> x, const Buffers& to)>;
  using Derivatives = std::function<void(Span<const double> x, const Buffers& to)>;

  /// One function that returns f(x) and writes all that has a buffer. Throws std::invalid_argument if it is empty.
  explicit HostObjective(Values all);

  /// Two functions; derivatives are never evaluated before they are asked for. Throws std::invalid_argument if one of
  /// them is empty.
  HostObjective(Values values, Derivatives derivatives);

  double evaluate(Span<const double> x, const Buffers& to) override {
    return is_joint() ? values_(x, to) : Objective::evaluate(x, to);
  }
  double values(Span<const double> x, const Buffers& to) override {
    return is_joint() ? values_(x, {{}, to.constraints, {}, 0}) : values_(x, to);
  }
  void derivatives(Span<const double> x, const Buffers& to) override {
    if (is_joint()) {
      values_(x, {to.gradient, {}, to.jacobian, to.stride});
    } else {
      derivatives_(x, to);
    }
  }
  bool is_joint() const override { return !derivatives_; }

 private:
  Values values_;
  Derivatives derivatives_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_HOST_OBJECTIVE_H_
