#include "weights/location.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "core/ascii.h"

namespace commissure {

namespace {

bool has_scheme(std::string_view location, std::string_view scheme) {
  return location.size() > scheme.size() && lower(std::string(location.substr(0, scheme.size()))) == scheme;
}

/// Where a URL's query or fragment begins; the end for a path, which may hold both characters.
std::size_t path_end(std::string_view location) {
  if (!is_url(location)) return location.size();
  return std::min(location.find_first_of("?#"), location.size());
}

std::optional<int> five_digits(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.size() != 5 || value < 0) return std::nullopt;
  return value;
}

}  // namespace

bool is_url(std::string_view location) { return has_scheme(location, "http://") || has_scheme(location, "https://"); }

bool is_cloud(std::string_view location) { return has_scheme(location, "gs://"); }

std::string_view file_name_of(std::string_view location) {
  const std::string_view path = location.substr(0, path_end(location));
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

bool is_mmproj_name(std::string_view file_name) {
  return file_name.ends_with(".gguf") && file_name.find("mmproj") != std::string_view::npos;
}

std::string sibling_of(std::string_view location, std::string_view file_name) {
  const std::size_t end = path_end(location);
  const auto slash = location.substr(0, end).rfind('/');
  const std::string_view folder = slash == std::string_view::npos ? "" : location.substr(0, slash + 1);
  return fmt::format("{}{}{}", folder, file_name, location.substr(end));
}

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

std::string SeriesName::with_number(int other) const {
  return fmt::format("{}-{:05}-of-{:05}{}", prefix, other, count, suffix);
}

std::optional<SeriesName> parse_series_name(std::string_view file_name) {
  constexpr std::size_t kTail = std::string_view("-00001-of-00002").size();
  const auto dot = file_name.rfind('.');
  if (dot == std::string_view::npos || dot < kTail) return std::nullopt;
  const std::string_view tail = file_name.substr(dot - kTail, kTail);
  const auto number = five_digits(tail.substr(1, 5));
  const auto count = five_digits(tail.substr(10, 5));
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || !number || !count) return std::nullopt;
  if (*number < 1 || *number > *count) return std::nullopt;
  return SeriesName{std::string(file_name.substr(0, dot - kTail)), *number, *count, std::string(file_name.substr(dot))};
}

}  // namespace commissure
