#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "jinja/render.h"

namespace commissure::jinja {

/// Digits behind the point at most; more is an error.
constexpr std::int64_t kMostPrecision = 300;

/// How Python's "%05.2f" or "{:>5.2f}" shows one value.
struct Spec {
  std::string fill = " ";       ///< one character, of one or more bytes
  char align = 0;               ///< one of < > ^ =; 0: as is natural for the value
  char sign = '-';              ///< before numbers that are not negative: '+', ' ' or, with '-', nothing
  bool alternate = false;       ///< '#': a prefix as 0x, a point in any case
  bool zero = false;            ///< '0': filled with zeros behind the sign
  char grouping = 0;            ///< between groups of digits: ',' or '_'; 0: nothing
  std::int64_t width = 0;       ///< characters at least
  std::int64_t precision = -1;  ///< digits behind the point, or characters of a text at most; -1: not given
  char type = 0;                ///< the letter, as d, x, f or s; 0: not given
};

/// The decimal number at `at`, which moves behind it; 0 where there is none.
/// Errors: kInvalidArgument, it is greater than 10^9.
Result<std::int64_t> read_count(std::string_view text, std::size_t& at);

/// `body` filled up to the spec's width; aligned as `natural` says where the spec does not. With '=' its first `n_head`
/// bytes, sign and prefix, stay in front of the filling.
/// Errors: kResourceExhausted, longer than the render's longest text.
Result<std::string> padded(Render& render, std::string_view body, const Spec& spec, char natural,
                           std::size_t n_head = 0);

/// Digits in groups of `size` as the spec wants them; where it fills with zeros, these are grouped too, as far as the
/// width reaches beside the `n_beside` bytes that are no digits. Errors: as padded.
Result<std::string> filled_groups(Render& render, std::string digits, const Spec& spec, std::size_t size,
                                  std::size_t n_beside);

/// Digits in groups of `size`, counted from the right, with `separator` between them.
std::string grouped(std::string digits, char separator, std::size_t size);

/// A number that is not negative as printf's e, f or g shows it; "nan" and "inf" as Python writes them.
/// Errors: kInvalidArgument, a precision over kMostPrecision.
Result<std::string> float_body(double value, char type, std::int64_t precision, bool alternate);

/// What stands before a number: "-", or what `sign` (of Spec) wants for numbers that are not negative.
std::string sign_of(bool negative, char sign);

/// An integer without its sign in base 10, or as `type` says (x, X, o, b).
std::string integer_digits(std::uint64_t magnitude, char type);

/// What '#' puts before the digits: 0x, 0X, 0o or 0b; nothing in base 10, or without '#'.
std::string prefix_of(const Spec& spec);

/// |value|, also of the smallest integer.
std::uint64_t magnitude_of(std::int64_t value);

}  // namespace commissure::jinja
