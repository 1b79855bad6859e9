#include "xla/nanort/threads.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#define EIGEN_USE_THREADS
#include "unsupported/Eigen/CXX11/Tensor"

namespace tfminimize::xla {
namespace {

/// A pool whose only thread is the calling one.
class CallingThread final : public Eigen::ThreadPoolInterface {
 public:
  void Schedule(std::function<void()> work) override { work(); }
  int NumThreads() const override { return 1; }
  int CurrentThreadId() const override { return 0; }
};

thread_local const Eigen::ThreadPoolDevice* for_kernels = nullptr;

/// XLA runs parts of a program in the shared threads, kernels among them.
const Eigen::ThreadPoolDevice* device_for_kernels() {
  if (for_kernels != nullptr) return for_kernels;
  return shared_threads().currentThreadId() >= 0 ? &shared_threads() : nullptr;
}

/// Work in parts. A thread that is free takes the next one.
class Parts {
 public:
  Parts(std::size_t count, const std::function<void(std::size_t)>& use) : count_(count), use_(use) {}

  void take() {
    for (std::size_t part = next_++; part < count_; part = next_++) {
      use_(part);
      if (++done_ == count_) {
        const std::lock_guard<std::mutex> lock(mutex_);
        all_done_.notify_one();
      }
    }
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [&] { return done_ == count_; });
  }

 private:
  std::size_t count_;
  const std::function<void(std::size_t)>& use_;  ///< Not touched after the last part has been taken.
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> done_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
};

}  // namespace

const Eigen::ThreadPoolDevice& shared_threads() {
  // Never destroyed, since a Python thread may still run a program when the process ends.
  static const auto* const device = [] {
    const int count = static_cast<int>(std::thread::hardware_concurrency());
    return new Eigen::ThreadPoolDevice(new Eigen::ThreadPool(count), count);
  }();
  static const pid_t process = getpid();
  return getpid() == process ? *device : calling_thread();
}

const Eigen::ThreadPoolDevice& calling_thread() {
  static const auto* const device =
      new Eigen::ThreadPoolDevice(new CallingThread, 1);  // never destroyed, like the other
  return *device;
}

ThreadsForKernels::ThreadsForKernels(const Eigen::ThreadPoolDevice& device) : before_(for_kernels) {
  for_kernels = &device;
}

ThreadsForKernels::~ThreadsForKernels() { for_kernels = before_; }

void for_each_part(std::size_t count, const std::function<void(std::size_t)>& use) {
  const Eigen::ThreadPoolDevice* const device = device_for_kernels();
  const auto threads = device == nullptr ? 1 : std::min(count, static_cast<std::size_t>(device->numThreads()));
  if (threads < 2) {
    for (std::size_t part = 0; part < count; ++part) use(part);
    return;
  }
  const auto parts = std::make_shared<Parts>(count, use);
  for (std::size_t i = 1; i < threads; ++i) device->enqueueNoNotification([parts] { parts->take(); });
  parts->take();
  parts->wait();
}

}  // namespace tfminimize::xla
