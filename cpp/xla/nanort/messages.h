#ifndef TFMINIMIZE_XLA_NANORT_MESSAGES_H_
#define TFMINIMIZE_XLA_NANORT_MESSAGES_H_

#include <stdexcept>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tfminimize::xla {

/// Throws std::runtime_error with a sentence of these parts.
template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw std::runtime_error(absl::StrCat(parts...));
}

/// Throws std::runtime_error with the message of a status that is not OK.
inline void check(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(std::string(status.message()));
}

/// Parses a serialized protocol buffer. Throws std::runtime_error.
template <typename Message>
Message parse(std::string_view text) {
  Message message;
  if (!message.ParseFromArray(text.data(), static_cast<int>(text.size()))) {
    throw std::runtime_error("TensorFlow could not read its own message");
  }
  return message;
}

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_NANORT_MESSAGES_H_
