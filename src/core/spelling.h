#pragma once

#include <string_view>

namespace commissure {

/// How many single changes make `b` of `a`: a letter put in, taken out, changed, or swapped with its neighbour.
int edit_distance(std::string_view a, std::string_view b);

}  // namespace commissure
