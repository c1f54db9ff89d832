#include "jinja/format_spec.h"

#include <array>
#include <cmath>
#include <cstdio>

#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

Result<std::int64_t> read_count(std::string_view text, std::size_t& at) {
  std::int64_t value = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    value = value * 10 + (text[at++] - '0');
    if (value > 1'000'000'000) return type_error("a width or precision is too large");
  }
  return value;
}

Result<std::string> padded(Render& render, std::string_view body, const Spec& spec, char natural, std::size_t n_head) {
  const auto length = static_cast<std::int64_t>(count_code_points(body));
  if (spec.width <= length) return std::string(body);
  const auto missing = static_cast<std::size_t>(spec.width - length);
  if (missing * spec.fill.size() > render.limits().text_bytes) {
    return Error(Code::kResourceExhausted, "the template makes too long a text");
  }
  TRY(render.spend(missing / 16));
  char align = spec.align != 0 ? spec.align : natural;
  std::string padding;
  const auto fill = [&](std::size_t n) {
    padding.clear();
    for (std::size_t i = 0; i < n; ++i) padding += spec.fill;
    return padding;
  };
  if (align == '=') return std::string(body.substr(0, n_head)) + fill(missing) + std::string(body.substr(n_head));
  if (align == '<') return std::string(body) + fill(missing);
  if (align == '>') return fill(missing) + std::string(body);
  return fill(missing / 2) + std::string(body) + fill(missing - missing / 2);
}

Result<std::string> filled_groups(Render& render, std::string digits, const Spec& spec, std::size_t size,
                                  std::size_t n_beside) {
  const std::int64_t columns = spec.width - static_cast<std::int64_t>(n_beside);
  if (spec.fill == "0" && spec.align == '=' && columns > 0) {
    const auto n_columns = static_cast<std::size_t>(columns);
    if (n_columns > render.limits().text_bytes)
      return Error(Code::kResourceExhausted, "the template makes too long a text");
    TRY(render.spend(n_columns / 16));
    // One column in size + 1 is a separator's; never the first, so the text may be one column wider.
    const std::size_t n_digits = n_columns - (n_columns - 1) / (size + 1);
    if (n_digits > digits.size()) digits.insert(0, n_digits - digits.size(), '0');
  }
  return grouped(std::move(digits), spec.grouping, size);
}

std::string grouped(std::string digits, char separator, std::size_t size) {
  std::string result;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % size == 0) result += separator;
    result += digits[i];
  }
  return result;
}

Result<std::string> float_body(double value, char type, std::int64_t precision, bool alternate) {
  if (precision > kMostPrecision) return type_error(fmt::format("a precision is at most {}", kMostPrecision));
  if (std::isnan(value)) return std::string("nan");
  if (std::isinf(value)) return std::string("inf");
  std::array<char, 1024> room;
  const std::string pattern = std::string(alternate ? "%#.*" : "%.*") + type;
  const int size = std::snprintf(room.data(), room.size(), pattern.c_str(), static_cast<int>(precision), value);
  return std::string(room.data(), static_cast<std::size_t>(size));
}

std::string sign_of(bool negative, char sign) {
  if (negative) return "-";
  return sign == '+' || sign == ' ' ? std::string(1, sign) : "";
}

std::string integer_digits(std::uint64_t magnitude, char type) {
  switch (type) {
    case 'x': return fmt::format("{:x}", magnitude);
    case 'X': return fmt::format("{:X}", magnitude);
    case 'o': return fmt::format("{:o}", magnitude);
    case 'b': return fmt::format("{:b}", magnitude);
    default: return fmt::format("{}", magnitude);
  }
}

std::string prefix_of(const Spec& spec) {
  const bool has_one = spec.alternate && (spec.type == 'x' || spec.type == 'X' || spec.type == 'o' || spec.type == 'b');
  return has_one ? std::string{'0', spec.type} : "";
}

std::uint64_t magnitude_of(std::int64_t value) {
  return value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
}

}  // namespace commissure::jinja
