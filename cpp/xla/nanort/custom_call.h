#ifndef TFMINIMIZE_XLA_NANORT_CUSTOM_CALL_H_
#define TFMINIMIZE_XLA_NANORT_CUSTOM_CALL_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "xla/service/custom_call_status.h"
#include "xla/service/hlo.pb.h"

namespace tfminimize::xla {

/// A function of our own that machine code calls. `text` is what the call was made with.
using Kernel = void(void* result, const void** operands, const char* text, std::size_t size, XlaCustomCallStatus*);

/// Calls use(T{}), where T is the type of C++ for F64 or F32.
template <typename Use>
void with_type(::xla::PrimitiveType type, const Use& use);

/// Makes a kernel known to XLA, and returns the name that XLA knows it by, which begins with `name`.
std::string register_kernel(const std::string& name, Kernel* kernel);

/// A call of a kernel in the place of an instruction, which has the same result. It has no operands yet. `Text` is
/// copied byte by byte.
template <typename Text>
::xla::HloInstructionProto call_in_place_of(const ::xla::HloInstructionProto& instruction, const std::string& target,
                                            const Text& text);

/// What a kernel's call was made with.
template <typename Text>
Text text_of(const char* text) {
  Text copy;
  std::memcpy(&copy, text, sizeof copy);
  return copy;
}

/// Adds an operand, an instruction of this shape. The kernel gets it, as all, with the last dimension side by side.
void add_operand(::xla::HloInstructionProto& call, std::int64_t id, const ::xla::ShapeProto& shape);

/// Whether the size of something is known only while the program runs, as after tf.boolean_mask. XLA follows such sizes
/// through its own instructions alone.
bool is_dynamic(const ::xla::HloModuleProto& module);

/// The instructions of a computation, by their numbers in it.
class Instructions {
 public:
  explicit Instructions(const ::xla::HloComputationProto& computation);
  /// The instruction with this identity, or null if the computation does not have it.
  const ::xla::HloInstructionProto* find(std::int64_t id) const;

 private:
  std::map<std::uint32_t, const ::xla::HloInstructionProto*> instructions_;
};

/// What takes the place of an instruction, if anything does.
using Replacement =
    std::function<std::optional<::xla::HloInstructionProto>(const ::xla::HloInstructionProto&, const Instructions&)>;

void replace_instructions(::xla::HloModuleProto& module, const Replacement& replacement);

namespace detail {
::xla::HloInstructionProto call_in_place_of(const ::xla::HloInstructionProto& instruction, const std::string& target,
                                            std::string text);
}  // namespace detail

template <typename Use>
void with_type(::xla::PrimitiveType type, const Use& use) {
  if (type == ::xla::F64) {
    use(double{});
  } else {
    use(float{});
  }
}

template <typename Text>
::xla::HloInstructionProto call_in_place_of(const ::xla::HloInstructionProto& instruction, const std::string& target,
                                            const Text& text) {
  return detail::call_in_place_of(instruction, target, {reinterpret_cast<const char*>(&text), sizeof text});
}

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_NANORT_CUSTOM_CALL_H_
