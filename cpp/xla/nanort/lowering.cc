#include "xla/nanort/lowering.h"

#include <stdexcept>

#include "tensorflow/compiler/tf2xla/xla_compiler.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/tensor.h"
#include "xla/client/client_library.h"
#include "xla/client/local_client.h"
#include "xla/nanort/checks.h"
#include "xla/nanort/messages.h"
#include "xla/service/platform_util.h"

namespace tfminimize::xla {
namespace {

tensorflow::XlaArgument describe(const LoweringArgument& argument) {
  tensorflow::XlaArgument described;
  described.type = static_cast<tensorflow::DataType>(argument.dtype);
  described.shape = tensorflow::TensorShape(argument.shape);
  described.kind = tensorflow::XlaArgument::kParameter;
  if (argument.is_variable) {
    described.kind = tensorflow::XlaArgument::kResource;
    described.resource_kind = tensorflow::XlaResource::kVariable;
    described.initialized = true;
  }
  if (!argument.constant.empty()) {
    described.kind =
        argument.is_variable ? tensorflow::XlaArgument::kConstantResource : tensorflow::XlaArgument::kConstant;
    if (!described.constant_value.FromProto(parse<tensorflow::TensorProto>(argument.constant))) {
      throw std::runtime_error("TensorFlow could not read its own tensor");
    }
  }
  return described;
}

}  // namespace

Lowered lower(const std::string& function, std::string_view library, const std::vector<LoweringArgument>& arguments) {
  const auto functions = parse<tensorflow::FunctionDefLibrary>(library);
  check_lowerable(functions);
  const tensorflow::FunctionLibraryDefinition definitions(tensorflow::OpRegistry::Global(), functions);
  absl::StatusOr<stream_executor::Platform*> platform = ::xla::PlatformUtil::GetPlatform("Host");
  check(platform.status());
  absl::StatusOr<::xla::LocalClient*> client = ::xla::ClientLibrary::GetOrCreateLocalClient(*platform);
  check(client.status());
  tensorflow::XlaCompiler::Options options;
  options.device_type = tensorflow::DeviceType(tensorflow::DEVICE_CPU_XLA_JIT);
  options.client = *client;
  options.flib_def = &definitions;
  options.allow_cpu_custom_calls = true;
  options.detailed_logging = false;
  tensorflow::XlaOpRegistry::RegisterCompilationKernels();
  tensorflow::XlaCompiler compiler(options);

  tensorflow::NameAttrList name;
  name.set_name(function);
  std::vector<tensorflow::XlaArgument> described;
  described.reserve(arguments.size());
  for (const LoweringArgument& argument : arguments) described.push_back(describe(argument));
  tensorflow::XlaCompilationResult result;
  check(compiler.CompileFunction({}, name, described, &result));
  Lowered lowered;
  if (!result.computation->proto().SerializeToString(&lowered.module)) {
    throw std::runtime_error("the program is larger than 2 GB");
  }
  for (const tensorflow::XlaOutputDescription& output : result.outputs) {
    const auto sizes = output.shape.dim_sizes();
    lowered.shapes.emplace_back(sizes.begin(), sizes.end());
  }
  lowered.writes_to_variables = !result.resource_updates.empty();
  return lowered;
}

}  // namespace tfminimize::xla
