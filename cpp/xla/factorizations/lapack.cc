#include "xla/factorizations/lapack.h"

#include <atomic>
#include <mutex>

namespace tfminimize::xla {
namespace {

/// Null until there is a library.
std::atomic<const Lapack*> library{nullptr};

/// The library has one number of threads for all that call it.
std::mutex number_mutex;
int calls_in_one_thread = 0;
int threads_before = 0;

}  // namespace

void set_lapack(const Lapack& lapack) {
  static const Lapack first = lapack;
  library = &first;
}

InCallingThread::InCallingThread() {
  if (library.load()->set_threads == nullptr) return;
  const std::lock_guard<std::mutex> lock(number_mutex);
  if (calls_in_one_thread++ > 0) return;
  threads_before = library.load()->threads();
  if (threads_before > 1) library.load()->set_threads(1);
}

InCallingThread::~InCallingThread() {
  if (library.load()->set_threads == nullptr) return;
  const std::lock_guard<std::mutex> lock(number_mutex);
  if (--calls_in_one_thread == 0 && threads_before > 1) library.load()->set_threads(threads_before);
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
