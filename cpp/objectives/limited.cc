#include "objectives/limited.h"

namespace tfminimize {

CancelTimer::CancelTimer(Objective& objective, std::chrono::steady_clock::time_point time)
    : thread_([this, &objective, time] { wait(objective, time); }) {}

CancelTimer::~CancelTimer() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    has_ended_ = true;
  }
  ended_.notify_one();
  thread_.join();
}

bool CancelTimer::has_fired() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return has_fired_;
}

void CancelTimer::wait(Objective& objective, std::chrono::steady_clock::time_point time) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!ended_.wait_until(lock, time, [this] { return has_ended_; })) {
    has_fired_ = true;
    objective.cancel();
    time = std::chrono::steady_clock::now() + kRepeatCancel;
  }
}

}  // namespace tfminimize
