#ifndef TFMINIMIZE_OPS_XLA_LIBRARY_H_
#define TFMINIMIZE_OPS_XLA_LIBRARY_H_

#include "xla/xla_compiler.h"

namespace tfminimize {

/// The compiler in the extension that links to XLA, which lies in the folder of this library. It is loaded when it is
/// first asked for, since this library must work without it. Throws std::runtime_error with the reason if it cannot be
/// loaded.
const xla::XlaCompiler& xla_compiler();

}  // namespace tfminimize

#endif  // TFMINIMIZE_OPS_XLA_LIBRARY_H_
