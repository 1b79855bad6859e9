#include "tfe/host_tensor.h"

#include <memory>
#include <utility>

#include "objectives/aligned_tensor.h"

namespace tfminimize::tfe {

InputTensor host_tensor(const TfeApi& api, TFE_Context* context, TensorHandle tensor) {
  const TfStatus status(api);
  const char* device = api.tensor_handle_backing_device_name(tensor.get(), status.get());
  status.check();
  const TF_DataType dtype = api.tensor_handle_data_type(tensor.get());
  if (host_device_name(api, context) == device) {
    const std::size_t bytes = api.tensor_handle_device_memory_size(tensor.get(), status.get());
    status.check();
    const void* data = api.tensor_handle_device_pointer(tensor.get(), status.get());
    status.check();
    const std::shared_ptr<TFE_TensorHandle> owner = std::move(tensor);
    return aligned_tensor({std::shared_ptr<const void>(owner, data), dtype, bytes});
  }
  const TfTensor on_host(api.tensor_handle_resolve(tensor.get(), status.get()), api.delete_tensor);
  status.check();
  return aligned_copy(api.tensor_data(on_host.get()), dtype, api.tensor_byte_size(on_host.get()));
}

}  // namespace tfminimize::tfe
