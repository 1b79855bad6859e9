#include "solvers/threads.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <system_error>
#include <thread>

#include "solvers/machine.h"

namespace tfminimize::solvers {
namespace {

/// The threads of one process. It is never destroyed, so that its threads may sleep until the process ends.
class Pool {
 public:
  /// That of this process. A fork copies the pool without its threads, and its locks as they are; so a child starts
  /// another.
  static Pool& of_this_process() {
    static std::atomic<Pool*> current{nullptr};
    const pid_t process = getpid();
    Pool* pool = current.load(std::memory_order_acquire);
    while (pool == nullptr || pool->process_ != process) {
      auto* fresh = new Pool(process, pool);
      if (current.compare_exchange_strong(pool, fresh, std::memory_order_acq_rel)) return *fresh;
      delete fresh;  // It has no thread yet.
    }
    return *pool;
  }

  /// Makes the calls, in `threads` threads or fewer. False, and none is made, if the pool has another caller.
  bool run(std::size_t threads, std::size_t count, void (*call)(const void* context, std::size_t i),
           const void* context) {
    const std::unique_lock<std::mutex> only(caller_, std::try_to_lock);
    if (!only) return false;
    start(threads - 1);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      call_ = call;
      context_ = context;
      count_ = count;
      next_.store(0, std::memory_order_relaxed);
      seats_ = threads - 1;
    }
    wake_.notify_all();
    work();
    std::unique_lock<std::mutex> lock(mutex_);
    seats_ = 0;
    ended_.wait(lock, [this] { return working_ == 0; });
    return true;
  }

 private:
  Pool(pid_t process, const Pool* of_parent) : process_(process), of_parent_(of_parent) {
    static_cast<void>(of_parent_);  // Clang warns of a member that is never used.
  }

  /// Starts threads until there are so many, as far as the system grants them.
  void start(std::size_t threads) {
    try {
      for (; started_ < threads; ++started_) std::thread([this] { sleep_and_work(); }).detach();
    } catch (const std::system_error&) {  // The others do the work.
    }
  }

  [[noreturn]] void sleep_and_work() {
    const SerialScope serial;
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return seats_ > 0; });
      --seats_;
      ++working_;
      lock.unlock();
      work();
      lock.lock();
      if (--working_ == 0) ended_.notify_one();
    }
  }

  /// Makes one call after another until none is left.
  void work() {
    for (std::size_t i = next_++; i < count_; i = next_++) call_(context_, i);
  }

  const pid_t process_;
  const Pool* const of_parent_;  ///< Out of use, but not lost for who looks for leaks.
  std::mutex caller_;            ///< Held by the caller that the pool serves.
  std::size_t started_ = 0;      ///< Threads.

  std::mutex mutex_;  ///< Guards all that follows, except next_.
  std::condition_variable wake_;
  std::condition_variable ended_;
  void (*call_)(const void* context, std::size_t i) = nullptr;
  const void* context_ = nullptr;
  std::size_t count_ = 0;
  std::size_t seats_ = 0;    ///< Threads that may still join in the work.
  std::size_t working_ = 0;  ///< Threads that have joined and are not done, without the caller.
  std::atomic<std::size_t> next_{0};
};

/// How many threads there are to be; 0 before anybody has asked.
std::atomic<std::size_t>& chosen_threads() {
  static std::atomic<std::size_t> chosen{0};
  return chosen;
}

bool& serial_here() {
  thread_local bool serial = false;
  return serial;
}

}  // namespace

void run_in_threads(std::size_t count, void (*call)(const void* context, std::size_t i), const void* context,
                    std::size_t fewest) {
  if (count >= fewest && !is_serial()) {
    const std::size_t threads = std::min(num_threads(), count);
    if (threads > 1 && Pool::of_this_process().run(threads, count, call, context)) return;
  }
  for (std::size_t i = 0; i < count; ++i) call(context, i);
}

std::size_t num_threads() {
  std::size_t count = chosen_threads().load(std::memory_order_relaxed);
  if (count == 0) {
    const std::size_t cores = available_cores();
    // Another thread may have chosen meanwhile.
    if (chosen_threads().compare_exchange_strong(count, cores, std::memory_order_relaxed)) count = cores;
  }
  return count;
}

bool is_serial() { return serial_here(); }

void set_num_threads(std::size_t count) { chosen_threads().store(count, std::memory_order_relaxed); }

SerialScope::SerialScope() : before_(serial_here()) { serial_here() = true; }
SerialScope::~SerialScope() { serial_here() = before_; }

}  // namespace tfminimize::solvers
