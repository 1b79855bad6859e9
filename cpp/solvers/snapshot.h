#ifndef TFMINIMIZE_SOLVERS_SNAPSHOT_H_
#define TFMINIMIZE_SOLVERS_SNAPSHOT_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "solvers/span.h"
#include "solvers/status.h"

namespace tfminimize::solvers {

/// The kind of solver, its sizes and its options. A solver can only take a state that was saved with the same.
using SnapshotShape = std::array<std::uint64_t, 6>;

/// A saved state begins with this.
struct SnapshotHeader {
  SnapshotShape shape{};
  std::uint64_t bytes = 0;     ///< The size of the rest,
  std::uint64_t checksum = 0;  ///< and its checksum.
};

/// The hash of Fowler, Noll and Vo, over words of eight bytes; four hashes, of every fourth word each, and theirs. One
/// alone would wait for each product.
inline std::uint64_t checksum(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t kBasis = 0xcbf29ce484222325;
  constexpr std::uint64_t kPrime = 0x100000001b3;
  std::array<std::uint64_t, 4> hashes{kBasis, kBasis, kBasis, kBasis};
  std::array<std::uint64_t, 4> words{};
  const auto add_words = [&] {
    for (std::size_t k = 0; k < words.size(); ++k) hashes[k] = (hashes[k] ^ words[k]) * kPrime;
  };
  const std::size_t whole_size = size - size % sizeof words;
  for (std::size_t i = 0; i < whole_size; i += sizeof words) {
    std::memcpy(words.data(), data + i, sizeof words);
    add_words();
  }
  if (whole_size < size) {
    words.fill(0);
    std::memcpy(words.data(), data + whole_size, size - whole_size);
    add_words();
  }
  std::uint64_t whole = kBasis;
  for (const std::uint64_t hash : hashes) whole = (whole ^ hash) * kPrime;
  return whole;
}

/// The state of a solver as bytes. visit(f) calls f(pointer, bytes) for each piece of it.
template <typename Visit>
std::vector<std::uint8_t> save_snapshot(const SnapshotShape& shape, const Visit& visit) {
  std::size_t size = sizeof(SnapshotHeader);
  visit([&](const void* /*piece*/, std::size_t bytes) { size += bytes; });
  std::vector<std::uint8_t> saved;
  saved.reserve(size);
  saved.resize(sizeof(SnapshotHeader));
  visit([&](const void* piece, std::size_t bytes) {
    const auto* begin = static_cast<const std::uint8_t*>(piece);
    saved.insert(saved.end(), begin, begin + bytes);
  });
  const std::size_t bytes = saved.size() - sizeof(SnapshotHeader);
  const SnapshotHeader header{shape, bytes, checksum(saved.data() + sizeof(SnapshotHeader), bytes)};
  std::memcpy(saved.data(), &header, sizeof header);
  return saved;
}

/// Throws std::invalid_argument unless a part of a saved state can be one.
inline void check_saved(bool holds, const char* part) {
  if (!holds) throw std::invalid_argument(std::string("The saved state is damaged: ") + part + " cannot be.");
}

/// Whether a bool that was copied from saved bytes is valid.
inline bool is_bool(const bool& value) {
  unsigned char byte = 0;
  std::memcpy(&byte, &value, sizeof byte);
  return byte <= 1;
}

/// Whether an enumerator that was copied from saved bytes is one of 0 to `last`.
template <typename Enum>
bool is_enumerator(Enum value, Enum last) {
  return static_cast<int>(value) >= 0 && static_cast<int>(value) <= static_cast<int>(last);
}

/// Whether a count that was copied from saved bytes is not negative, and small enough to count on from.
inline bool is_count(std::int64_t value) { return value >= 0 && value < (std::int64_t{1} << 62); }

/// Throws std::invalid_argument unless these are enumerators, from 0 to the last ones.
template <typename Status, typename Phase>
void check_saved_enumerators(Request request, Status status, Status last_status, Phase phase, Phase last_phase) {
  check_saved(is_enumerator(request, Request::kStopped) && is_enumerator(status, last_status) &&
                  is_enumerator(phase, last_phase),
              "its request, status or phase");
}

/// Visits one number or struct.
template <typename Visit, typename Value>
void visit_value(Visit&& visit, Value& value) {
  static_assert(std::is_trivially_copyable_v<Value>);
  visit(&value, sizeof value);
}

/// Visits the elements of a vector, an AlignedArray or a Span.
template <typename Visit, typename Array>
void visit_elements(Visit&& visit, Array&& array) {
  visit(array.data(), array.size() * sizeof(*array.data()));
}

/// Reads the pieces of a saved state, one after another.
class SnapshotReader {
 public:
  explicit SnapshotReader(Span<const std::uint8_t> rest) : rest_(rest) {}

  void operator()(void* piece, std::size_t bytes) {
    check_saved(bytes <= rest_.size(), "its size");
    std::copy_n(rest_.data(), bytes, static_cast<std::uint8_t*>(piece));
    rest_ = {rest_.data() + bytes, rest_.size() - bytes};
  }
  void check_end() const { check_saved(rest_.empty(), "its size"); }

 private:
  Span<const std::uint8_t> rest_;
};

/// Restores a solver from a state that was saved with the same shape. Throws std::invalid_argument for anything else,
/// and then leaves the solver as it was. The error names the kind of `solver` and the `sizes` that must be the same.
///
/// visit(f) calls f(pointer, bytes) for each piece, and throws by check_saved() if a size or an index is impossible.
/// check() tests the rest once all of it has been read. So no bytes, whatever their origin, can do more than raise an
/// error. Floating-point numbers may have any value.
template <typename Visit, typename Check>
void restore_snapshot(Span<const std::uint8_t> saved, const SnapshotShape& shape, const std::string& solver,
                      const std::string& sizes, const Visit& visit, const Check& check) {
  SnapshotHeader header;
  if (saved.size() < sizeof header) throw std::invalid_argument("This is no saved state of " + solver + " solver.");
  std::memcpy(&header, saved.data(), sizeof header);
  if (header.shape != shape) {
    throw std::invalid_argument("The saved state is of a solver with another " + sizes + ".");
  }
  const std::uint8_t* position = saved.data() + sizeof header;
  if (header.bytes != saved.size() - sizeof header || header.checksum != checksum(position, header.bytes)) {
    throw std::invalid_argument("The saved state is cut short or damaged.");
  }
  const std::vector<std::uint8_t> before = save_snapshot(shape, visit);
  try {
    SnapshotReader reader({position, header.bytes});
    visit(reader);
    reader.check_end();
    check();
  } catch (...) {
    visit(SnapshotReader({before.data() + sizeof header, before.size() - sizeof header}));
    throw;
  }
}

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SNAPSHOT_H_
