#ifndef TFMINIMIZE_SOLVERS_SNAPSHOT_H_
#define TFMINIMIZE_SOLVERS_SNAPSHOT_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "solvers/span.h"

namespace tfminimize {

/// What tells the states of two solvers apart that cannot continue each other: the kind of solver, sizes, options.
using SnapshotShape = std::array<std::uint64_t, 6>;

/// What a saved state begins with.
struct SnapshotHeader {
  SnapshotShape shape{};
  std::uint64_t bytes = 0;     ///< Of what follows ...
  std::uint64_t checksum = 0;  ///< ... and its checksum.
};

/// Fowler, Noll & Vo's hash, over words of eight bytes.
inline std::uint64_t checksum(const std::uint8_t* data, std::size_t size) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (std::size_t i = 0; i < size; i += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, data + i, std::min(sizeof word, size - i));
    hash = (hash ^ word) * 0x100000001b3;
  }
  return hash;
}

/// The state of a solver, as bytes. visit(f) calls f(pointer, bytes) for each piece of it.
template <typename Visit>
std::vector<std::uint8_t> save_snapshot(const SnapshotShape& shape, const Visit& visit) {
  std::vector<std::uint8_t> saved(sizeof(SnapshotHeader));
  visit([&](const void* piece, std::size_t bytes) {
    const auto* begin = static_cast<const std::uint8_t*>(piece);
    saved.insert(saved.end(), begin, begin + bytes);
  });
  const std::size_t bytes = saved.size() - sizeof(SnapshotHeader);
  const SnapshotHeader header{shape, bytes, checksum(saved.data() + sizeof(SnapshotHeader), bytes)};
  std::memcpy(saved.data(), &header, sizeof header);
  return saved;
}

/// Takes a saved state of the same shape back. Throws std::invalid_argument for anything else, and then changes
/// nothing; `solver` and `sizes` name what must be the same.
template <typename Visit>
void restore_snapshot(Span<const std::uint8_t> saved, const SnapshotShape& shape, const std::string& solver,
                      const std::string& sizes, const Visit& visit) {
  // All of it is looked at before any of it is taken.
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
  visit([&](void* piece, std::size_t bytes) {
    std::copy_n(position, bytes, static_cast<std::uint8_t*>(piece));
    position += bytes;
  });
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_SOLVERS_SNAPSHOT_H_
