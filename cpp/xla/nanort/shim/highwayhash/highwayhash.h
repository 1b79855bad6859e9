// See farmhash.h.
#pragma once

namespace highwayhash {

template <int Target>
class HighwayHashCatT {};

}  // namespace highwayhash
