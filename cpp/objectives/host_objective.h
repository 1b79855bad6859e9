#ifndef TFMINIMIZE_OBJECTIVES_HOST_OBJECTIVE_H_
#define TFMINIMIZE_OBJECTIVES_HOST_OBJECTIVE_H_

#include <functional>

#include "objectives/objective.h"

namespace tfminimize {

/// An objective made of functions that C++ calls and that write their results themselves.
class HostObjective final : public Objective {
 public:
  using Values = std::function<double(Span<const double> x, const Buffers& to)>;
  using Derivatives = std::function<void(Span<const double> x, const Buffers& to)>;

  /// One function that returns f(x) and fills every buffer that is not empty. Throws std::invalid_argument if there is
  /// no function.
  explicit HostObjective(Values all);

  /// Two functions; the second is called only for derivatives. Throws std::invalid_argument if one of them is missing.
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
