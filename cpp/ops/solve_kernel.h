#ifndef TFMINIMIZE_OPS_SOLVE_KERNEL_H_
#define TFMINIMIZE_OPS_SOLVE_KERNEL_H_

#include <atomic>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "ops/evaluator.h"
#include "ops/function_library.h"
#include "ops/instantiate.h"
#include "ops/machine_code.h"
#include "ops/nested.h"
#include "ops/recompilation.h"
#include "solvers/memory.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tfminimize {

/// Ends a solve when the step is cancelled.
inline InterruptPoll poll_of(const tensorflow::OpKernelContext& context) {
  return [manager = context.cancellation_manager()] {
    if (manager != nullptr && manager->IsCancelled()) check(absl::CancelledError("The solve was cancelled."));
  };
}

/// The kernel of an op that solves. `Solve(run, attributes).run()` does the work, and sets the outputs.
///
/// Runs each solve in one thread of TensorFlow from start to end, without waiting for other threads of TensorFlow.
/// Solves that take long leave the calling thread, which may have other kernels to start.
template <typename OpAttributes, typename Solve>
class SolveKernel : public tensorflow::AsyncOpKernel {
 public:
  explicit SolveKernel(tensorflow::OpKernelConstruction* context) : AsyncOpKernel(context) {
    try {
      attributes_ = std::make_unique<OpAttributes>(*context);
      machine_code_ = std::make_unique<MachineCode>(attributes_->functions);
    } catch (const StatusError& error) {
      context->SetStatus(error.status());
    }
  }

  void ComputeAsync(tensorflow::OpKernelContext* context, DoneCallback done) override {
    auto solve = [this, context, done = std::move(done)] {
      const double seconds = seconds_of([&] { context->SetStatus(this->solve(*context)); });
      is_short_.store(seconds < kShort);
      done();
    };
    if (context->run_all_kernels_inline() || context->runner() == nullptr || is_short_.load()) {
      solve();
    } else {
      (*context->runner())(std::move(solve));
    }
  }

 private:
  absl::Status solve(tensorflow::OpKernelContext& context) {
    const Nested nested;
    try {
      Nested::check_depth();
      Solve({context, functions(context), *machine_code_, is_first_.exchange(false)}, *attributes_).run();
      return absl::OkStatus();
    } catch (const StatusError& error) {
      return error.status();
    } catch (const solvers::OutOfMemory& error) {
      return absl::ResourceExhaustedError(error.what());
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError(
          "There is no memory for the solver: give a smaller maxcor, or fewer constraints.");
    } catch (const std::exception& error) {
      return absl::InvalidArgumentError(error.what());
    }
  }

  /// The functions, instantiated once in each library, since a session shares this kernel between several libraries.
  const std::vector<Callable>& functions(const tensorflow::OpKernelContext& context) {
    tensorflow::FunctionLibraryRuntime* library = context.function_library();
    if (library == nullptr) fail("functions cannot be called: this step has no function library.");
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = instantiated_.find(library);
    if (found != instantiated_.end()) {
      if (found->second.is_alive()) return found->second.functions();
      instantiated_.erase(found);
    }
    Instantiated fresh(*library, attributes_->called(), attributes_->jit_compile);
    return instantiated_.emplace(library, std::move(fresh)).first->second.functions();
  }

  std::unique_ptr<const OpAttributes> attributes_;
  std::unique_ptr<MachineCode> machine_code_;
  static constexpr double kShort = 1e-4;  ///< Seconds; to wake another thread takes 10 to 50 µs.

  std::atomic<bool> is_short_{false};  ///< Whether the last solve was short.
  std::atomic<bool> is_first_{true};   ///< Whether no solve has begun yet.
  std::mutex mutex_;
  std::map<const tensorflow::FunctionLibraryRuntime*, Instantiated> instantiated_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_SOLVE_KERNEL_H_
