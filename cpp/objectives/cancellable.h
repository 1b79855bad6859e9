#ifndef TFMINIMIZE_OBJECTIVES_CANCELLABLE_H_
#define TFMINIMIZE_OBJECTIVES_CANCELLABLE_H_

namespace tfminimize {

/// Something that evaluates, and can perhaps be asked to end early.
class Cancellable {
 public:
  Cancellable() = default;
  virtual ~Cancellable() = default;
  Cancellable(const Cancellable&) = delete;
  Cancellable& operator=(const Cancellable&) = delete;

  /// Asks the evaluation that another thread is in to end early with an exception, where that is possible. Without
  /// effect on later evaluations. May be called at any time, from any thread.
  virtual void cancel() {}
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_CANCELLABLE_H_
