#ifndef TFMINIMIZE_OBJECTIVES_EXCEPTION_OF_H_
#define TFMINIMIZE_OBJECTIVES_EXCEPTION_OF_H_

#include <cxxabi.h>

#include <exception>

namespace tfminimize {

/// Calls work() and returns what it throws, or null. Use it if Python may run after an error: Python may switch to
/// another stack that handles exceptions of its own, so it must not run in a handler.
template <typename Work>
std::exception_ptr exception_of(const Work& work) {
  try {
    work();
  } catch (const abi::__forced_unwind&) {
    throw;  // Python ends this thread
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_EXCEPTION_OF_H_
