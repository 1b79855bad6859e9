#ifndef TFMINIMIZE_OBJECTIVES_OUTPUTS_H_
#define TFMINIMIZE_OBJECTIVES_OUTPUTS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "objectives/components.h"
#include "tfe/tfe_api.h"

namespace tfminimize {

/// One result of a function, as it must be.
struct Output {
  std::string name;
  TF_DataType dtype = TF_DOUBLE;  ///< TF_DOUBLE or TF_FLOAT.
  std::size_t size = 0;           ///< Elements.
};

/// What a function with constraints computes, besides gradients.
struct ConstrainedOutputs {
  TF_DataType loss_dtype = TF_DOUBLE;
  TF_DataType values_dtype = TF_DOUBLE;
  std::size_t num_values = 0;  ///< k
};

/// loss, gradient 0, gradient 1, ...
std::vector<Output> loss_and_gradients(const Components& components, TF_DataType loss_dtype);

/// loss, v [k]; without v if k is 0.
std::vector<Output> loss_and_values(const ConstrainedOutputs& outputs);

/// loss, v [k], gradient 0, gradient 1, ..., Jacobian of v by component 0, by component 1, ...; without v and Jacobians
/// if k is 0. Throws std::invalid_argument for a Jacobian that no memory can hold.
std::vector<Output> values_and_derivatives(const ConstrainedOutputs& outputs, const Components& components);

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_OUTPUTS_H_
