// See farmhash.h.
#pragma once

#include <cstdint>

namespace highwayhash {

using HHKey = std::uint64_t[4];

}  // namespace highwayhash
