#include "ops/instantiate.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/function_library.h"
#include "tensorflow/core/grappler/grappler_item.h"
#include "tensorflow/core/grappler/optimizers/meta_optimizer.h"

namespace tfminimize {
namespace {

using tensorflow::FunctionLibraryRuntime;
using tensorflow::NameAttrList;
using Options = FunctionLibraryRuntime::InstantiateOptions;

/// Asks for the optimisation that TensorFlow's own function calls get.
void optimize(Options& options, const std::string& name) {
  options.config_proto.mutable_graph_options()->mutable_optimizer_options()->set_do_function_inlining(true);
  tensorflow::grappler::GrapplerItem::OptimizationOptions grappler;
  grappler.is_eager_mode = true;
  grappler.optimize_function_library = false;  // functions that are not inlined are optimised when they are called
  options.optimize_graph_fn = [grappler, name, config = options.config_proto](
                                  std::vector<std::string> results, std::vector<std::string> kept,
                                  tensorflow::FunctionLibraryDefinition* library, const tensorflow::DeviceSet& devices,
                                  tensorflow::Device* cpu, std::unique_ptr<tensorflow::Graph>* graph) {
    return tensorflow::grappler::OptimizeGraph(std::move(results), std::move(kept), library, devices, cpu, config, name,
                                               grappler, graph);
  };
}

void check_types(const std::string& name, const char* verb, tensorflow::DataTypeSlice types,
                 tensorflow::DataTypeSlice expected) {
  if (types == expected) return;
  fail(name, " ", verb, " (", tensorflow::DataTypeSliceString(types), "): it must be (",
       tensorflow::DataTypeSliceString(expected), ").");
}

void check_signature(const tensorflow::FunctionLibraryDefinition& functions, const NameAttrList& function,
                     const std::string& name, const Signature& expected) {
  const tensorflow::FunctionDef* definition = functions.Find(function.name());
  if (definition == nullptr) fail(name, ": there is no function of this name.");
  tensorflow::InstantiationResult found;
  const auto signature = [&](const std::string& op, const tensorflow::OpDef** def) {
    return functions.LookUpOpDef(op, def);
  };
  check(tensorflow::InstantiateFunction(*definition, tensorflow::AttrSlice(&function.attr()), signature, &found));
  check_types(name, "takes", found.arg_types, expected.arguments);
  check_types(name, "returns", found.ret_types, expected.results);
}

FunctionLibraryRuntime::Handle instantiate(FunctionLibraryRuntime& library, const NameAttrList& function,
                                           const std::string& name, const Signature& signature, bool jit_compile) {
  check_signature(*library.GetFunctionLibraryDefinition(), function, name, signature);
  Options options;
  if (jit_compile) {
    options.executor_type = "SINGLE_THREADED_EXECUTOR";  // there is only one operation
  } else {
    const std::string& host = library.device()->name();
    options.target = host;
    options.is_multi_device_function = true;
    options.input_devices.assign(signature.arguments.size(), host);
    options.output_devices.assign(signature.results.size(), host);
    options.allow_small_function_optimizations = true;  // one thread, if that is safe
    if (const tensorflow::ConfigProto* config = library.config_proto()) options.config_proto = *config;
    optimize(options, function.name());
  }
  FunctionLibraryRuntime::Handle handle = 0;
  check(library.Instantiate(function.name(), tensorflow::AttrSlice(&function.attr()), options, &handle));
  return handle;
}

}  // namespace

Instantiated::Instantiated(FunctionLibraryRuntime& library, const std::vector<FunctionAttribute>& attributes,
                           bool jit_compile)
    : library_(&library) {
  for (const auto& [attribute, functions, signatures] : attributes) {
    for (std::size_t i = 0; i < functions.size(); ++i) {
      std::string name = absl::StrCat(attribute, "[", i, "], ", functions[i].name(), ",");
      functions_.push_back({instantiate(library, functions[i], name, signatures[i], jit_compile), name});
    }
  }
}

Instantiated::~Instantiated() {
  const auto library = library_.GetNewRef();
  if (library == nullptr) return;
  for (const Callable& function : functions_) library->ReleaseHandle(function.handle).IgnoreError();
}

}  // namespace tfminimize
