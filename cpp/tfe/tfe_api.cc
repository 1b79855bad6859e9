#include "tfe/tfe_api.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "external/dlpack/include/dlpack/dlpack.h"

namespace tfminimize::tfe {
namespace {

/// The C++ name under which tensorflow::TFE_HandleFromDLPack is exported.
constexpr char kHandleFromDlpack[] = "_ZN10tensorflow20TFE_HandleFromDLPackEPvP10TSL_StatusP11TFE_Context";

/// Memory that TensorFlow uses as a tensor. Lives until TensorFlow calls the deleter.
struct Import {
  DLManagedTensor managed;
  std::shared_ptr<const void> owner;
};

void delete_import(DLManagedTensor* managed) {
  const std::unique_ptr<Import> last(static_cast<Import*>(managed->manager_ctx));
}

class Library {
 public:
  explicit Library(std::string path) : path_(std::move(path)), handle_(dlopen(path_.c_str(), RTLD_NOLOAD | RTLD_NOW)) {
    if (handle_ == nullptr) {
      throw std::runtime_error("TensorFlow's library " + path_ + " is not loaded; import tensorflow first.");
    }
  }
  // There is no dlclose(): the library must stay loaded, since what was found in it is used for ever.

  void* find(const char* symbol) const {
    void* address = dlsym(handle_, symbol);
    if (address == nullptr) throw std::runtime_error(path_ + " does not define " + symbol + ".");
    return address;
  }

  template <typename Function>
  void find(Function& function, const char* symbol) const {
    function = reinterpret_cast<Function>(find(symbol));
  }

 private:
  std::string path_;
  void* handle_;
};

using TfBuffer = std::unique_ptr<TF_Buffer, decltype(&TF_DeleteBuffer)>;

std::string_view text_of(const TfBuffer& buffer) { return {static_cast<const char*>(buffer->data), buffer->length}; }

/// The fields with this number in a serialized protocol buffer; they must be strings or messages.
std::vector<std::string_view> fields(std::string_view message, std::uint64_t number) {
  enum Wire : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  const auto take = [&message](std::size_t size) {
    const std::string_view taken = message.substr(0, size);
    message.remove_prefix(taken.size());
    return taken;
  };
  const auto take_varint = [&take] {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::string_view byte = take(1);
      if (byte.empty()) break;
      value |= static_cast<std::uint64_t>(byte[0] & 0x7F) << shift;
      if ((byte[0] & 0x80) == 0) break;
    }
    return value;
  };
  std::vector<std::string_view> found;
  while (!message.empty()) {
    const std::uint64_t key = take_varint();
    const std::uint64_t wire = key % 8;
    if (wire == kBytes) {
      const std::string_view bytes = take(take_varint());
      if (key / 8 == number) found.push_back(bytes);
    } else if (wire == kVarint) {
      take_varint();
    } else {
      take(wire == kFixed64 ? 8 : 4);
    }
  }
  return found;
}

}  // namespace

TfeApi TfeApi::load(const std::string& libtensorflow_cc) {
  const Library library(libtensorflow_cc);
  TfeApi api{};
  library.find(api.new_status, "TF_NewStatus");
  library.find(api.delete_status, "TF_DeleteStatus");
  library.find(api.get_code, "TF_GetCode");
  library.find(api.message, "TF_Message");
  library.find(api.tensor_data, "TF_TensorData");
  library.find(api.tensor_byte_size, "TF_TensorByteSize");
  library.find(api.num_dims, "TF_NumDims");
  library.find(api.dim, "TF_Dim");
  library.find(api.allocate_tensor, "TF_AllocateTensor");
  library.find(api.delete_tensor, "TF_DeleteTensor");
  library.find(api.new_buffer, "TF_NewBuffer");
  library.find(api.delete_buffer, "TF_DeleteBuffer");
  library.find(api.host_address_space, "TFE_HostAddressSpace");
  library.find(api.context_get_function_def, "TFE_ContextGetFunctionDef");
  library.find(api.new_op, "TFE_NewOp");
  library.find(api.delete_op, "TFE_DeleteOp");
  library.find(api.op_reset, "TFE_OpReset");
  library.find(api.op_set_device, "TFE_OpSetDevice");
  library.find(api.op_set_attr_string, "TFE_OpSetAttrString");
  library.find(api.op_set_attr_type_list, "TFE_OpSetAttrTypeList");
  library.find(api.op_set_attr_function_name, "TFE_OpSetAttrFunctionName");
  library.find(api.op_get_attrs, "TFE_OpGetAttrs");
  library.find(api.op_add_attrs, "TFE_OpAddAttrs");
  library.find(api.op_add_input, "TFE_OpAddInput");
  library.find(api.op_add_input_list, "TFE_OpAddInputList");
  library.find(api.op_get_flat_input_count, "TFE_OpGetFlatInputCount");
  library.find(api.op_set_cancellation_manager, "TFE_OpSetCancellationManager");
  library.find(api.new_cancellation_manager, "TFE_NewCancellationManager");
  library.find(api.delete_cancellation_manager, "TFE_DeleteCancellationManager");
  library.find(api.cancellation_manager_start_cancel, "TFE_CancellationManagerStartCancel");
  library.find(api.new_executor, "TFE_NewExecutor");
  library.find(api.delete_executor, "TFE_DeleteExecutor");
  library.find(api.executor_is_async, "TFE_ExecutorIsAsync");
  library.find(api.executor_wait_for_all_pending_nodes, "TFE_ExecutorWaitForAllPendingNodes");
  library.find(api.context_set_executor_for_thread, "TFE_ContextSetExecutorForThread");
  library.find(api.context_get_executor_for_thread, "TFE_ContextGetExecutorForThread");
  library.find(api.execute, "TFE_Execute");
  library.find(api.new_tensor_handle, "TFE_NewTensorHandle");
  library.find(api.delete_tensor_handle, "TFE_DeleteTensorHandle");
  library.find(api.tensor_handle_copy_sharing_tensor, "TFE_TensorHandleCopySharingTensor");
  library.find(api.tensor_handle_data_type, "TFE_TensorHandleDataType");
  library.find(api.tensor_handle_num_elements, "TFE_TensorHandleNumElements");
  library.find(api.tensor_handle_backing_device_name, "TFE_TensorHandleBackingDeviceName");
  library.find(api.tensor_handle_device_pointer, "TFE_TensorHandleDevicePointer");
  library.find(api.tensor_handle_device_memory_size, "TFE_TensorHandleDeviceMemorySize");
  library.find(api.tensor_handle_resolve, "TFE_TensorHandleResolve");
  library.find(api.handle_from_dlpack, kHandleFromDlpack);
  return api;
}

void* find_symbol(const std::string& library, const char* symbol) { return Library(library).find(symbol); }

void TfStatus::fail() const { throw TensorFlowError(api_->get_code(status_.get()), api_->message(status_.get())); }

void wait_for_thread(const TfeApi& api, TFE_Context* context) {
  const TfeExecutor executor(api.context_get_executor_for_thread(context), api.delete_executor);
  if (!api.executor_is_async(executor.get())) return;
  const TfStatus status(api);
  api.executor_wait_for_all_pending_nodes(executor.get(), status.get());
  status.check();
}

TensorHandle share(const TfeApi& api, TFE_TensorHandle* handle) {
  const TfStatus status(api);
  TensorHandle shared(api.tensor_handle_copy_sharing_tensor(handle, status.get()), api.delete_tensor_handle);
  status.check();
  return shared;
}

TensorHandle import_memory(const TfeApi& api, TFE_Context* context, void* data, Span<const std::int64_t> shape,
                           TF_DataType dtype, const std::shared_ptr<const void>& owner, const TfStatus& status) {
  const std::uint8_t bits = dtype == TF_DOUBLE ? 64 : 32;
  auto import = std::make_unique<Import>();
  import->owner = owner;
  import->managed.dl_tensor.data = data;
  import->managed.dl_tensor.device = {kDLCPU, 0};
  import->managed.dl_tensor.ndim = static_cast<std::int32_t>(shape.size());
  import->managed.dl_tensor.dtype = {kDLFloat, bits, 1};
  import->managed.dl_tensor.shape = const_cast<std::int64_t*>(shape.data());  // DLPack has no const, but only reads
  import->managed.manager_ctx = import.get();
  import->managed.deleter = &delete_import;
  // TensorFlow owns it from here on, and calls the deleter even if it does not know the device.
  DLManagedTensor* managed = &import.release()->managed;
  TensorHandle handle(api.handle_from_dlpack(managed, status.get(), context), api.delete_tensor_handle);
  status.check();
  return handle;
}

TensorHandle copy_memory(const TfeApi& api, const void* data, std::size_t bytes, Span<const std::int64_t> shape,
                         TF_DataType dtype, const TfStatus& status) {
  const TfTensor tensor(api.allocate_tensor(dtype, shape.data(), static_cast<int>(shape.size()), bytes),
                        api.delete_tensor);
  if (!tensor) throw std::bad_alloc();
  if (bytes > 0) std::memcpy(api.tensor_data(tensor.get()), data, bytes);
  TensorHandle handle(api.new_tensor_handle(tensor.get(), status.get()), api.delete_tensor_handle);
  status.check();
  return handle;
}

bool is_forked() {
  static std::atomic<bool> forked{false};
  [[maybe_unused]] static const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });
  return forked.load(std::memory_order_relaxed);
}

std::string host_device_name(const TfeApi& api, TFE_Context* context) {
  const TfBuffer buffer(api.new_buffer(), api.delete_buffer);
  api.host_address_space(context, buffer.get());
  return std::string(text_of(buffer)) + "/device:CPU:0";
}

std::size_t count_outputs(const TfeApi& api, TFE_Context* context, const std::string& function) {
  const TfBuffer buffer(api.new_buffer(), api.delete_buffer);
  const TfStatus status(api);
  api.context_get_function_def(context, function.c_str(), buffer.get(), status.get());
  status.check();
  constexpr std::uint64_t kSignature = 1;  // the numbers of FunctionDef.signature and OpDef.output_arg
  constexpr std::uint64_t kOutputArg = 3;
  return fields(fields(text_of(buffer), kSignature).at(0), kOutputArg).size();
}

}  // namespace tfminimize::tfe
