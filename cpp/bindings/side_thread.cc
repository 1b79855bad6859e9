#include "bindings/side_thread.h"

#include <optional>
#include <stdexcept>
#include <utility>

#include "bindings/gil.h"
#include "bindings/tensorflow.h"
#include "objectives/exception_of.h"

namespace tfminimize::bindings {

void SideThread::serve() {
  while (true) {
    const std::function<void()>* work = nullptr;
    {
      const GilReleased no_gil;
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return work_ != nullptr || is_closed_; });
      work = work_;
    }
    if (work == nullptr) return;
    std::exception_ptr error = exception_of(*work);
    const GilReleased no_gil;
    const std::lock_guard<std::mutex> lock(mutex_);
    error_ = std::move(error);
    work_ = nullptr;
    changed_.notify_all();
  }
}

void SideThread::run(const std::function<void()>& work) {
  const std::lock_guard<std::mutex> turn(turns_);
  std::unique_lock<std::mutex> lock(mutex_);
  if (is_closed_) throw std::runtime_error("The communicator is closed: make a new one.");
  work_ = &work;
  changed_.notify_all();
  changed_.wait(lock, [&] { return work_ == nullptr; });
  if (std::exception_ptr error = std::exchange(error_, nullptr)) std::rethrow_exception(error);
}

void SideThread::close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_closed_ = true;
  changed_.notify_all();
}

namespace {

py::object call(SideThread& thread, const py::function& function) {
  py::object result;
  without_gil([&] { thread.run([&] { result = function(); }); });
  return result;
}

void close(SideThread& thread) {
  const GilReleased no_gil;
  thread.close();
}

}  // namespace

void register_side_thread(py::module_& m) {
  py::class_<SideThread, std::shared_ptr<SideThread>>(
      m, "SideThread", py::is_final(),
      "Work that no signal handler of Python can interrupt: serve() is the target of a threading.Thread.")
      .def(py::init<>())
      .def("serve", &SideThread::serve, "Does the work of others until close().")
      .def("call", &call, py::arg("function"),
           "Returns what function() returns in the thread, or raises its exception.")
      .def("close", &close, "Ends serve().");
}

}  // namespace tfminimize::bindings
