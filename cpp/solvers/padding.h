#ifndef TFMINIMIZE_SOLVERS_PADDING_H_
#define TFMINIMIZE_SOLVERS_PADDING_H_

#include <cstddef>

namespace tfminimize::solvers {

/// The length of a padded vector of n doubles, and the distance between two rows (or columns) of a dense matrix: n,
/// rounded up to whole cache lines.
constexpr std::size_t padded(std::size_t n) { return (n + 7) / 8 * 8; }

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_PADDING_H_
