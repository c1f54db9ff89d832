#pragma once

#include <string_view>

namespace commissure::jinja {

/// The upper (title) case of a letter where it is more than one letter, as of "ß"; else empty.
/// Source: Unicode's SpecialCasing.txt, unconditional rows.
std::string_view special_upper(char32_t letter);
std::string_view special_title(char32_t letter);

}  // namespace commissure::jinja
