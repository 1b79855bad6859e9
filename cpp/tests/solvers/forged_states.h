#ifndef TFMINIMIZE_TESTS_SOLVERS_FORGED_STATES_H_
#define TFMINIMIZE_TESTS_SOLVERS_FORGED_STATES_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "solvers/snapshot.h"
#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers::testing {

using Bytes = std::vector<std::uint8_t>;

/// Corrects the checksum and the size in the header.
inline void seal(Bytes& state) {
  SnapshotHeader header;
  std::memcpy(&header, state.data(), sizeof header);
  header.bytes = state.size() - sizeof header;
  header.checksum = checksum(state.data() + sizeof header, header.bytes);
  std::memcpy(state.data(), &header, sizeof header);
}

/// Calls use(forged) with states that differ from a saved one: in each word or byte after the header, or in the size.
template <typename Use>
void for_each_forged(const Bytes& saved, std::uint64_t seed, const Use& use) {
  constexpr std::size_t kBegin = sizeof(SnapshotHeader);
  constexpr std::array<std::uint64_t, 9> kWords{0,
                                                1,
                                                7,
                                                std::uint64_t{1} << 32,
                                                std::uint64_t{1} << 63,
                                                ~std::uint64_t{0},
                                                0x7FFFFFFF7FFFFFFF,
                                                0x7FF0000000000000,   // infinity
                                                0xFFF8000000000000};  // NaN
  Random random(seed);
  const auto forge = [&](const auto& change) {
    Bytes forged = saved;
    change(forged);
    seal(forged);
    use(forged);
  };
  for (std::size_t i = kBegin; i + sizeof(std::uint64_t) <= saved.size(); i += sizeof(std::uint64_t)) {
    for (const std::uint64_t word : kWords) {
      forge([&](Bytes& forged) { std::memcpy(forged.data() + i, &word, sizeof word); });
    }
  }
  for (std::size_t i = kBegin; i < saved.size(); ++i) {
    forge(
        [&](Bytes& forged) { forged[i] ^= static_cast<std::uint8_t>(1U << static_cast<unsigned>(random.unit() * 8)); });
  }
  for (std::size_t size = kBegin; size < saved.size(); size += 1 + static_cast<std::size_t>(random.unit() * 40)) {
    forge([&](Bytes& forged) { forged.resize(size); });
  }
  forge([&](Bytes& forged) { forged.resize(saved.size() + 8); });
}

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_FORGED_STATES_H_
