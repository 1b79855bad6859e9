#ifndef TFMINIMIZE_TFE_TFE_API_H_
#define TFMINIMIZE_TFE_TFE_API_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "solvers/span.h"
#include "tensorflow/c/eager/c_api.h"
#include "tensorflow/c/eager/c_api_experimental.h"
#include "tensorflow/c/eager/dlpack.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

namespace tfminimize::tfe {

/// Whether this process was forked from one that had called this function before. TensorFlow's threads then stayed with
/// the parent, and what waits for them never ends.
bool is_forked();

/// The functions of TensorFlow's eager C API that are called. They are found at run time in the TensorFlow that Python
/// has imported, so nothing here links to TensorFlow. Their names are those of c_api.h without the prefix.
struct TfeApi {
  decltype(&TF_NewStatus) new_status;
  decltype(&TF_DeleteStatus) delete_status;
  decltype(&TF_GetCode) get_code;
  decltype(&TF_Message) message;
  decltype(&TF_TensorData) tensor_data;
  decltype(&TF_TensorByteSize) tensor_byte_size;
  decltype(&TF_NumDims) num_dims;
  decltype(&TF_Dim) dim;
  decltype(&TF_AllocateTensor) allocate_tensor;
  decltype(&TF_DeleteTensor) delete_tensor;
  decltype(&TF_NewBuffer) new_buffer;
  decltype(&TF_DeleteBuffer) delete_buffer;
  decltype(&TFE_HostAddressSpace) host_address_space;
  decltype(&TFE_ContextGetFunctionDef) context_get_function_def;
  decltype(&TFE_NewOp) new_op;
  decltype(&TFE_DeleteOp) delete_op;
  decltype(&TFE_OpReset) op_reset;
  decltype(&TFE_OpSetDevice) op_set_device;
  decltype(&TFE_OpSetAttrString) op_set_attr_string;
  decltype(&TFE_OpSetAttrTypeList) op_set_attr_type_list;
  decltype(&TFE_OpSetAttrFunctionName) op_set_attr_function_name;
  decltype(&TFE_OpGetAttrs) op_get_attrs;
  decltype(&TFE_OpAddAttrs) op_add_attrs;
  decltype(&TFE_OpAddInput) op_add_input;
  decltype(&TFE_OpAddInputList) op_add_input_list;
  decltype(&TFE_OpGetFlatInputCount) op_get_flat_input_count;
  decltype(&TFE_OpSetCancellationManager) op_set_cancellation_manager;
  decltype(&TFE_NewCancellationManager) new_cancellation_manager;
  decltype(&TFE_DeleteCancellationManager) delete_cancellation_manager;
  decltype(&TFE_CancellationManagerStartCancel) cancellation_manager_start_cancel;
  decltype(&TFE_NewExecutor) new_executor;
  decltype(&TFE_DeleteExecutor) delete_executor;
  decltype(&TFE_ExecutorIsAsync) executor_is_async;
  decltype(&TFE_ExecutorWaitForAllPendingNodes) executor_wait_for_all_pending_nodes;
  decltype(&TFE_ContextSetExecutorForThread) context_set_executor_for_thread;
  decltype(&TFE_ContextGetExecutorForThread) context_get_executor_for_thread;
  decltype(&TFE_Execute) execute;
  TFE_TensorHandle* (*new_tensor_handle)(const TF_Tensor*, TF_Status*);  // the name is overloaded in C++
  decltype(&TFE_DeleteTensorHandle) delete_tensor_handle;
  decltype(&TFE_TensorHandleCopySharingTensor) tensor_handle_copy_sharing_tensor;
  decltype(&TFE_TensorHandleDataType) tensor_handle_data_type;
  decltype(&TFE_TensorHandleNumElements) tensor_handle_num_elements;
  decltype(&TFE_TensorHandleBackingDeviceName) tensor_handle_backing_device_name;
  decltype(&TFE_TensorHandleDevicePointer) tensor_handle_device_pointer;
  decltype(&TFE_TensorHandleDeviceMemorySize) tensor_handle_device_memory_size;
  decltype(&TFE_TensorHandleResolve) tensor_handle_resolve;
  decltype(&tensorflow::TFE_HandleFromDLPack) handle_from_dlpack;

  /// Finds all of them in the library with the path `libtensorflow_cc`, which must be loaded already. Throws
  /// std::runtime_error, in a sentence that names what is missing.
  static TfeApi load(const std::string& libtensorflow_cc);
};

/// The address of a function in a library that is loaded already. Throws std::runtime_error as TfeApi::load() does.
void* find_symbol(const std::string& library, const char* symbol);

/// An error of TensorFlow: its status code and its message.
class TensorFlowError : public std::runtime_error {
 public:
  TensorFlowError(TF_Code code, const std::string& message) : std::runtime_error(message), code_(code) {}
  TF_Code code() const { return code_; }

  /// FunctionOptions::origin of the function that failed, or null.
  const std::shared_ptr<const void>& origin() const { return origin_; }
  void set_origin(std::shared_ptr<const void> origin) { origin_ = std::move(origin); }

 private:
  TF_Code code_;
  std::shared_ptr<const void> origin_;
};

/// Owns a TF_Status; check() throws it as a TensorFlowError unless it is OK.
class TfStatus {
 public:
  explicit TfStatus(const TfeApi& api) : api_(&api), status_(api.new_status(), api.delete_status) {}
  TF_Status* get() const { return status_.get(); }
  void check() const {
    if (api_->get_code(status_.get()) != TF_OK) fail();
  }

 private:
  [[noreturn]] void fail() const;

  const TfeApi* api_;
  std::unique_ptr<TF_Status, decltype(&TF_DeleteStatus)> status_;
};

using TensorHandle = std::unique_ptr<TFE_TensorHandle, decltype(&TFE_DeleteTensorHandle)>;
using TfTensor = std::unique_ptr<TF_Tensor, decltype(&TF_DeleteTensor)>;
using TfeOp = std::unique_ptr<TFE_Op, decltype(&TFE_DeleteOp)>;
using TfeExecutor = std::unique_ptr<TFE_Executor, decltype(&TFE_DeleteExecutor)>;

/// Waits until TensorFlow has done all asynchronous work of the calling thread. Throws TensorFlowError if that fails.
void wait_for_thread(const TfeApi& api, TFE_Context* context);

/// Another handle of the same tensor.
TensorHandle share(const TfeApi& api, TFE_TensorHandle* handle);

/// A tensor that shares the memory at `data`, which must be 64-byte aligned (else TensorFlow copies it). `owner` lives
/// until TensorFlow has released the memory.
TensorHandle import_memory(const TfeApi& api, TFE_Context* context, void* data, Span<const std::int64_t> shape,
                           TF_DataType dtype, const std::shared_ptr<const void>& owner, const TfStatus& status);

/// A tensor that copies `bytes` bytes from `data`; they must be as many as this shape and dtype need.
TensorHandle copy_memory(const TfeApi& api, const void* data, std::size_t bytes, Span<const std::int64_t> shape,
                         TF_DataType dtype, const TfStatus& status);

/// The name of the CPU of this host, as TensorFlow calls it.
std::string host_device_name(const TfeApi& api, TFE_Context* context);

/// How many tensors a function returns. Throws TensorFlowError if TensorFlow does not know the function.
std::size_t count_outputs(const TfeApi& api, TFE_Context* context, const std::string& function);

}  // namespace tfminimize::tfe

#endif  // TFMINIMIZE_TFE_TFE_API_H_
