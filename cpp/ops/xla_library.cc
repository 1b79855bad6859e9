#include "ops/xla_library.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace tfminimize {
namespace {

struct Loaded {
  const xla::XlaCompiler* compiler = nullptr;
  std::string error;
};

Loaded failed(const std::string& reason) { return {nullptr, "tfminimize's _xla could not be loaded (" + reason + ")"}; }

/// The path of a file in the folder of this library.
std::string path_beside(const char* file) {
  Dl_info library{};
  const std::string_view own = dladdr(reinterpret_cast<const void*>(&failed), &library) != 0 ? library.dli_fname : "";
  return std::string(own.substr(0, own.rfind('/') + 1)) + file;
}

Loaded load() {
  if (std::string_view(TFMINIMIZE_XLA_FILE).empty()) return failed("this build has none");
  // It stays loaded, since programs point to it.
  void* extension = dlopen(path_beside(TFMINIMIZE_XLA_FILE).c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (extension == nullptr) return failed(dlerror());
  const auto get = reinterpret_cast<const xla::XlaCompiler* (*)()>(dlsym(extension, xla::kXlaCompilerSymbol));
  if (get == nullptr) return failed(dlerror());
  const xla::XlaCompiler* compiler = get();
  if (std::string_view(compiler->border_id) != TFMINIMIZE_BORDER_ID) {
    return failed("it is of another build than _ops.so: install tfminimize again");
  }
  return {compiler, ""};
}

}  // namespace

const xla::XlaCompiler& xla_compiler() {
  static const Loaded loaded = load();
  if (loaded.compiler == nullptr) throw std::runtime_error(loaded.error);
  return *loaded.compiler;
}

}  // namespace tfminimize
