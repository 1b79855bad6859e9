#ifndef TFMINIMIZE_XLA_NANORT_THREADS_H_
#define TFMINIMIZE_XLA_NANORT_THREADS_H_

#include <cstddef>
#include <functional>

namespace Eigen {
struct ThreadPoolDevice;
}  // namespace Eigen

namespace tfminimize::xla {

/// The threads that all programs of the process share. A fork does not copy them: after one, the child has its calling
/// thread only.
const Eigen::ThreadPoolDevice& shared_threads();

/// A device whose only thread is the calling one.
const Eigen::ThreadPoolDevice& calling_thread();

/// While it lives, programs that this thread runs may use these threads for their kernels too.
class ThreadsForKernels {
 public:
  explicit ThreadsForKernels(const Eigen::ThreadPoolDevice& device);
  ~ThreadsForKernels();
  ThreadsForKernels(const ThreadsForKernels&) = delete;
  ThreadsForKernels& operator=(const ThreadsForKernels&) = delete;

 private:
  const Eigen::ThreadPoolDevice* before_;
};

/// Calls use(0), ..., use(count - 1), in the threads that the program may use. A thread that is busy elsewhere is not
/// waited for: the calling one does its part.
void for_each_part(std::size_t count, const std::function<void(std::size_t)>& use);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_NANORT_THREADS_H_
