#ifndef TFMINIMIZE_XLA_XLA_CAPSULE_H_
#define TFMINIMIZE_XLA_XLA_CAPSULE_H_

namespace tfminimize::xla {

/// The name of the capsules that hold a std::shared_ptr<XlaProgram>. It ends with what makes two builds of the border
/// between the extensions the same: a program of another build must not be called.
inline constexpr char kXlaProgramCapsule[] = "tfminimize.XlaProgram of " TFMINIMIZE_BORDER_ID;

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_XLA_CAPSULE_H_
