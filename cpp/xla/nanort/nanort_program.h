#ifndef TFMINIMIZE_XLA_NANORT_NANORT_PROGRAM_H_
#define TFMINIMIZE_XLA_NANORT_NANORT_PROGRAM_H_

#include <memory>
#include <string_view>

#include "xla/xla_program.h"

namespace tfminimize::xla {

/// Compiles a serialized xla::HloModuleProto, whose entry computation returns a tuple of arrays, for this processor.
/// Throws std::runtime_error with XLA's message.
std::shared_ptr<XlaProgram> compile_program(std::string_view hlo);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_NANORT_NANORT_PROGRAM_H_
