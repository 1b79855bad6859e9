#include "bindings/interrupt_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "bindings/gil.h"

namespace tfminimize::bindings {
namespace {

/// A shorter evaluation is not worth a thread that could cancel it; Ctrl-C waits until it ends.
constexpr double kLongEvaluation = 0.02;

/// Blocks all signals for this thread and the threads that it starts, while it lives.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

/// The thread that waits for Ctrl-C, and the objectives that it cancels. It lives on the heap, since greenlets take
/// turns on the stack.
class InterruptWatcher {
 public:
  InterruptWatcher();
  ~InterruptWatcher();
  InterruptWatcher(const InterruptWatcher&) = delete;
  InterruptWatcher& operator=(const InterruptWatcher&) = delete;

  /// Returns the existing watcher, or a new one.
  static std::shared_ptr<InterruptWatcher> shared();

  void add(Objective& objective);
  void remove(Objective& objective);
  void forget();

 private:
  /// The latest watcher. Only the main thread uses this, with the GIL held.
  static std::weak_ptr<InterruptWatcher>& last();
  /// Leaves everything to the parent process. The child, just forked, does not have the thread, and the mutex may be
  /// locked for ever.
  void leave_to_parent();

  void watch();
  void read_signals();
  void set_wakeup_fd(int fd) const;
  void finish();
  void close_pipe();

  py::module_ signal_;
  std::array<int, 2> pipe_{-1, -1};
  std::atomic<int> previous_fd_{-1};  ///< What signals woke before, and still do: event loops use it.
  std::atomic<bool> done_{false};
  bool is_left_ = false;  ///< Whether this is a child process, which leaves it to the parent.
  std::mutex mutex_;      ///< Guards the members below, and reading from the pipe.
  std::vector<Objective*> objectives_;
  bool interrupted_ = false;
  std::unique_ptr<std::thread> thread_;
};

std::weak_ptr<InterruptWatcher>& InterruptWatcher::last() {
  static std::weak_ptr<InterruptWatcher> last;
  return last;
}

std::shared_ptr<InterruptWatcher> InterruptWatcher::shared() {
  [[maybe_unused]] static const bool registered = [] {
    const auto after_fork = [] {
      if (const std::shared_ptr<InterruptWatcher> watcher = last().lock()) watcher->leave_to_parent();
      last().reset();
    };
    py::module_::import("os").attr("register_at_fork")(py::arg("after_in_child") = py::cpp_function(after_fork));
    return true;
  }();
  std::shared_ptr<InterruptWatcher> watcher = last().lock();
  if (!watcher) last() = watcher = std::make_shared<InterruptWatcher>();
  return watcher;
}

InterruptWatcher::InterruptWatcher() : signal_(py::module_::import("signal")) {
  if (pipe2(pipe_.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw std::system_error(errno, std::generic_category());
  try {
    // The thread inherits this mask, so signals still interrupt the main thread when it waits.
    const SignalsBlocked blocked;
    thread_ = std::make_unique<std::thread>([this] { watch(); });
  } catch (...) {
    close_pipe();
    throw;
  }
  try {
    previous_fd_ = signal_.attr("set_wakeup_fd")(pipe_[1], py::arg("warn_on_full_buffer") = false).cast<int>();
  } catch (...) {
    finish();
    throw;
  }
}

InterruptWatcher::~InterruptWatcher() {
  if (is_left_) return;
  set_wakeup_fd(previous_fd_);
  finish();
}

void InterruptWatcher::set_wakeup_fd(int fd) const {
  if (PyObject* before = PyObject_CallMethod(signal_.ptr(), "set_wakeup_fd", "i", fd)) {
    Py_DECREF(before);
  } else {
    PyErr_WriteUnraisable(signal_.ptr());
  }
}

void InterruptWatcher::leave_to_parent() {
  is_left_ = true;
  static_cast<void>(thread_.release());  // the thread does not exist here, so it can be neither joined nor detached
  set_wakeup_fd(previous_fd_);
  close_pipe();
}

void InterruptWatcher::finish() {
  done_ = true;
  const char wake = 0;
  while (write(pipe_[1], &wake, 1) < 0 && errno == EINTR) {
  }
  thread_->join();
  close_pipe();
}

void InterruptWatcher::close_pipe() {
  for (const int fd : pipe_) close(fd);
}

void InterruptWatcher::add(Objective& objective) {
  const std::lock_guard<std::mutex> lock(mutex_);
  objectives_.push_back(&objective);
}

void InterruptWatcher::remove(Objective& objective) {
  if (is_left_) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  objectives_.erase(std::find(objectives_.begin(), objectives_.end(), &objective));
}

void InterruptWatcher::forget() {
  if (is_left_) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  read_signals();
  interrupted_ = false;
}

void InterruptWatcher::read_signals() {
  char signal_number = 0;
  while (read(pipe_[0], &signal_number, 1) == 1) {
    if (signal_number == SIGINT) interrupted_ = true;
    if (signal_number != 0 && previous_fd_ >= 0) {
      [[maybe_unused]] const ssize_t written =
          write(previous_fd_, &signal_number, 1);  // if it is full, its reader is awake
    }
  }
}

void InterruptWatcher::watch() {
  int timeout = -1;
  while (true) {
    pollfd event{pipe_[0], POLLIN, 0};
    poll(&event, 1, timeout);
    const bool last = done_;
    const std::lock_guard<std::mutex> lock(mutex_);
    read_signals();
    if (last) return;
    timeout = interrupted_ ? static_cast<int>(kRepeatCancel.count()) : -1;
    if (!interrupted_) continue;
    for (Objective* objective : objectives_) objective->cancel();
  }
}

bool InterruptWatch::applies() {
  const py::module_ threading = py::module_::import("threading");
  if (!threading.attr("current_thread")().is(threading.attr("main_thread")())) return false;
  const py::module_ signal = py::module_::import("signal");
  return signal.attr("getsignal")(signal.attr("SIGINT")).is(signal.attr("default_int_handler"));
}

InterruptWatch::InterruptWatch(Objective& objective) : objective_(objective), watcher_(InterruptWatcher::shared()) {
  watcher_->add(objective_);
}

InterruptWatch::~InterruptWatch() { watcher_->remove(objective_); }

void InterruptWatch::forget() const { watcher_->forget(); }

LongEvaluationWatch::LongEvaluationWatch(const PyObjective& objective, Objective& core) {
  const bool is_long = objective.expected_seconds > kLongEvaluation;
  if (objective.can_be_cancelled() && is_long && InterruptWatch::applies()) watch_.emplace(core);
}

void poll_signals() {
  const GilHeld gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

}  // namespace tfminimize::bindings
