#pragma once

#include <concepts>
#include <cstddef>
#include <limits>
#include <utility>

#include "core/check.h"

/// Indices and counts are `int` in this program and `std::size_t` in the standard library. Where the library takes one
/// (a subscript, resize(), an offset to a pointer) an int goes in as it is: debug builds check the subscript. These
/// functions are for the places where the type decides the result: comparisons, minima and products.
namespace commissure {

/// A count or an index, n >= 0, as a size.
constexpr std::size_t to_size(std::integral auto n) {
  DCHECK(n >= 0);
  return static_cast<std::size_t>(n);
}

/// Elements of a tensor of this shape, e.g. n_elements(n_rows, n_cols), all extents >= 0. The product of ints may not
/// fit an int.
constexpr std::size_t n_elements(std::integral auto... extents) { return (to_size(extents) * ...); }

/// Elements of a container or characters of a text, at most 2^31 - 1 of them.
template <typename Container>
constexpr int count_of(const Container& container) {
  DCHECK(std::cmp_less_equal(container.size(), std::numeric_limits<int>::max()));
  return static_cast<int>(container.size());
}

/// Whether `container[i]` exists; i may be negative.
template <typename Container>
constexpr bool has_index(const Container& container, std::integral auto i) {
  return i >= 0 && std::cmp_less(i, container.size());
}

}  // namespace commissure
