#include "xla/factorizations/lapack.h"

#include <pthread.h>

#include <atomic>
#include <mutex>

#include "xla/nanort/threads.h"

namespace tfminimize::xla {
namespace {

/// Null until there is a library.
std::atomic<const Lapack*> library{nullptr};

/// While one lives, the library uses no other threads. It has one number of threads for all that call it.
class InOneThread {
 public:
  explicit InOneThread(const Lapack& functions) : functions_(functions) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (count++ > 0) return;
    if (threads_before == 0) threads_before = functions_.threads();
    if (threads_before > 1) functions_.set_threads(1);
  }
  ~InOneThread() {
    const std::lock_guard<std::mutex> lock(mutex);
    if (--count > 0) return;
    if (threads_before > 1) functions_.set_threads(threads_before);
    threads_before = 0;
  }
  InOneThread(const InOneThread&) = delete;
  InOneThread& operator=(const InOneThread&) = delete;

  /// A fork does not copy the threads that call the library. If there are some, the child's next call sets back the
  /// number.
  static void prepare_for_forks() {
    pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); },
                   [] {
                     count = 0;
                     mutex.unlock();
                   });
  }

 private:
  inline static std::mutex mutex;
  inline static int count = 0;
  inline static int threads_before = 0;  ///< While the library has one: the number to set back. 0 otherwise.
  const Lapack& functions_;
};

}  // namespace

void set_lapack(const Lapack& lapack) {
  static const Lapack first = [&] {
    InOneThread::prepare_for_forks();
    return lapack;
  }();
  library = &first;
}

void for_each_call(std::size_t count, const std::function<void(std::size_t)>& use) {
  const Lapack& functions = *library.load();
  if (functions.set_threads == nullptr) {
    for (std::size_t i = 0; i < count; ++i) use(i);
    return;
  }
  for_each_part(count, [&](std::size_t i) {
    const InOneThread guard(functions);
    use(i);
  });
}

bool has_lapack() { return library.load() != nullptr; }

template <>
const LapackFunctions<double>& lapack<double>() {
  return library.load()->doubles;
}

template <>
const LapackFunctions<float>& lapack<float>() {
  return library.load()->floats;
}

}  // namespace tfminimize::xla
