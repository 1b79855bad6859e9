#ifndef TFMINIMIZE_XLA_XLA_CAPSULE_H_
#define TFMINIMIZE_XLA_XLA_CAPSULE_H_

namespace tfminimize::xla {

/// The name of the capsules that hold a std::shared_ptr<XlaProgram>. It ends with an identifier of how xla_program.h
/// was compiled, so that a program from an extension with another layout is never called.
inline constexpr char kXlaProgramCapsule[] = "tfminimize.XlaProgram of " TFMINIMIZE_BORDER_ID;

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_XLA_CAPSULE_H_
