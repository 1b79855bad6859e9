#ifndef TFMINIMIZE_XLA_NANORT_CHECKS_H_
#define TFMINIMIZE_XLA_NANORT_CHECKS_H_

#include "tensorflow/core/framework/function.h"

namespace tfminimize::xla {

// Both go through all functions of a library, and throw std::runtime_error with a sentence that names the operation or
// the function.

/// Refuses operations that keep their own state, not that of an input resource, as random numbers do: the solver runs
/// machine code any number of times, and in several threads.
void check_state(const tensorflow::FunctionDefLibrary& library);

/// Refuses what XLA does not refuse itself: lists that grow, for which it computes wrong values or ends the process,
/// and functions that call themselves, for which it goes on until the stack overflows.
void check_lowerable(const tensorflow::FunctionDefLibrary& library);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_NANORT_CHECKS_H_
