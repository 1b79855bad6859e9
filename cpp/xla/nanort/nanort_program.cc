#include "xla/nanort/nanort_program.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#define EIGEN_USE_THREADS
#include "solvers/aligned_array.h"
#include "xla/backends/cpu/nanort/nanort_client.h"
#include "xla/backends/cpu/nanort/nanort_executable.h"
#include "xla/factorizations/take_factorizations.h"
#include "xla/hlo/builder/xla_computation.h"
#include "xla/nanort/custom_call.h"
#include "xla/nanort/threads.h"
#include "xla/primitive_util.h"
#include "xla/products/take_large_products.h"
#include "xla/products/take_products.h"
#include "xla/service/hlo.pb.h"
#include "xla/shape_util.h"

namespace tfminimize::xla {
namespace {

using Executable = ::xla::cpu::NanoRtExecutable;

[[noreturn]] void fail(const absl::Status& status) { throw std::runtime_error(std::string(status.message())); }

/// TensorFlow's name for a type of XLA.
std::string name_of(::xla::PrimitiveType type) {
  switch (type) {
    case ::xla::F64:
      return "float64";
    case ::xla::F32:
      return "float32";
    default:
      return ::xla::primitive_util::LowercasePrimitiveTypeName(type);
  }
}

XlaArray describe(const ::xla::Shape& shape) {
  if (!shape.IsArray()) throw std::runtime_error("it has an argument or result that is not an array");
  return {name_of(shape.element_type()), static_cast<std::size_t>(::xla::ShapeUtil::ByteSizeOf(shape))};
}

class NanoRtCall final : public XlaCall {
 public:
  NanoRtCall(std::shared_ptr<Executable> executable, const XlaProgram& program, bool many_threads)
      : executable_(std::move(executable)),
        many_threads_(many_threads),
        temporary_(solvers::AlignedArray<std::byte>::zeros(executable_->temp_buffer_size())) {
    for (const XlaArray& array : program.parameters()) arguments_.emplace_back(nullptr, size_of(array));
    for (const XlaArray& array : program.results()) results_.emplace_back(nullptr, size_of(array));
  }

  void set_argument(std::size_t index, const void* data) override {
    arguments_[index] = {data, static_cast<std::int64_t>(arguments_[index].data().size())};
  }

  void set_result(std::size_t index, void* data) override {
    results_[index] = {data, static_cast<std::int64_t>(results_[index].data().size())};
  }

  void run() override {
    use(many_threads_ ? shared_threads() : calling_thread());  // others in a forked process
    const ThreadsForKernels for_kernels(*threads_);
    const auto event =
        executable_->Execute(arguments_, results_, absl::MakeSpan(temporary_.data(), temporary_.size()), options_);
    tsl::BlockUntilReady(event);
    if (event.IsError()) fail(event.GetError());
  }

 private:
  static std::int64_t size_of(const XlaArray& array) { return static_cast<std::int64_t>(array.bytes); }

  void use(const Eigen::ThreadPoolDevice& threads) {
    if (threads_ == &threads) return;
    threads_ = &threads;
    options_.set_intra_op_thread_pool(threads_);
  }

  std::shared_ptr<Executable> executable_;
  const bool many_threads_;
  const Eigen::ThreadPoolDevice* threads_ = nullptr;
  solvers::AlignedArray<std::byte> temporary_;
  std::vector<Executable::Argument> arguments_;
  std::vector<Executable::Result> results_;
  Executable::ExecuteOptions options_;
};

/// If its memory fits into the caches of one core, a program is faster in one thread, since waking another takes
/// microseconds.
constexpr std::size_t kBytesForOneThread = std::size_t{1} << 21;

class NanoRtProgram final : public XlaProgram {
 public:
  NanoRtProgram(std::shared_ptr<Executable> executable, std::vector<XlaArray> parameters, std::vector<XlaArray> results)
      : XlaProgram(std::move(parameters), std::move(results)), executable_(std::move(executable)) {
    for (const XlaArray& array : this->parameters()) bytes_ += array.bytes;
    for (const XlaArray& array : this->results()) bytes_ += array.bytes;
    bytes_ += executable_->temp_buffer_size();
  }

  std::unique_ptr<XlaCall> call(bool use_thread_pool) override {
    const bool many_threads = use_thread_pool && bytes_ > kBytesForOneThread;
    return std::make_unique<NanoRtCall>(executable_, *this, many_threads);
  }

 private:
  std::shared_ptr<Executable> executable_;
  std::size_t bytes_ = 0;  ///< Of arguments, results and intermediate values.
};

}  // namespace

std::shared_ptr<XlaProgram> compile_program(std::string_view hlo) {
  ::xla::HloModuleProto proto;
  if (!proto.ParseFromArray(hlo.data(), static_cast<int>(hlo.size()))) {
    throw std::runtime_error("it is not a serialized HloModuleProto");
  }
  if (!is_dynamic(proto)) {
    take_factorizations(proto);
    take_products(proto);
    take_large_products(proto);
  }
  const ::xla::XlaComputation computation(std::move(proto));
  const absl::StatusOr<::xla::ProgramShape> shape = computation.GetProgramShape();
  if (!shape.ok()) fail(shape.status());
  std::vector<XlaArray> parameters;
  for (const ::xla::Shape& parameter : shape->parameters()) parameters.push_back(describe(parameter));
  if (!shape->result().IsTuple()) throw std::runtime_error("it does not return a tuple");
  std::vector<XlaArray> results;
  for (const ::xla::Shape& result : shape->result().tuple_shapes()) results.push_back(describe(result));
  absl::StatusOr<std::unique_ptr<Executable>> executable = ::xla::cpu::NanoRtClient().Compile(computation);
  if (!executable.ok()) fail(executable.status());
  return std::make_shared<NanoRtProgram>(*std::move(executable), std::move(parameters), std::move(results));
}

}  // namespace tfminimize::xla
