#ifndef TFMINIMIZE_TFE_HOST_TENSOR_H_
#define TFMINIMIZE_TFE_HOST_TENSOR_H_

#include "objectives/compiled_function.h"
#include "tfe/tfe_api.h"

namespace tfminimize::tfe {

/// The memory of a tensor on the host: its own, or a copy if it is on another device or not aligned.
InputTensor host_tensor(const TfeApi& api, TFE_Context* context, TensorHandle tensor);

}  // namespace tfminimize::tfe

#endif  // TFMINIMIZE_TFE_HOST_TENSOR_H_
