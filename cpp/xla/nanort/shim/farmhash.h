// TensorFlow's wheel has headers that include this one, but does not have this one itself. They need only these names;
// nothing that is compiled here calls them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace farmhash {

using uint128_t = std::pair<std::uint64_t, std::uint64_t>;
std::uint64_t Fingerprint64(const char* data, std::size_t size);
std::uint32_t Fingerprint32(const char* data, std::size_t size);
uint128_t Fingerprint128(const char* data, std::size_t size);

}  // namespace farmhash

namespace util {

using farmhash::Fingerprint128;
using farmhash::Fingerprint32;
using farmhash::Fingerprint64;
using farmhash::uint128_t;
std::uint64_t Uint128Low64(const uint128_t& value);
std::uint64_t Uint128High64(const uint128_t& value);

}  // namespace util
