#include "weights/storage_answers.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "net/jwt.h"
#include "weights/location.h"

namespace commissure {

namespace {

constexpr std::uint64_t kMaxObjectBytes = 5ull << 40;  // Cloud Storage's own limit

/// A member that is a number in text, as Google's JSON writes 64 bits.
std::optional<std::uint64_t> number_member(const Json& object, std::string_view key) {
  const Json* const text = find_member(object, key);
  if (text == nullptr || !text->is_string()) return std::nullopt;
  const std::string& digits = text->get_ref<const std::string&>();
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc() && end == digits.data() + digits.size() ? std::optional(value) : std::nullopt;
}

/// "yZRlqg==" -> the sum: four bytes, the highest first.
std::optional<std::uint32_t> parse_sum(std::string text) {
  std::ranges::replace(text, '+', '-');
  std::ranges::replace(text, '/', '_');
  while (text.ends_with('=')) text.pop_back();
  const auto bytes = decode_base64url(text);
  if (!bytes || bytes->size() != 4) return std::nullopt;
  std::uint32_t sum = 0;
  for (const char c : *bytes) sum = sum << 8 | static_cast<unsigned char>(c);
  return sum;
}

/// Takes the number at the front off `text`.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

std::string text_member(const Json& object, std::string_view key) {
  const Json* const value = find_member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view field) {
  if (!take(field, "bytes ")) return std::nullopt;
  const auto first = take_number(field);
  if (!first || !take(field, "-")) return std::nullopt;
  const auto last = take_number(field);
  if (!last || !take(field, "/")) return std::nullopt;
  const auto size = take_number(field);
  if (!size || !field.empty() || *first > *last || *last >= *size) return std::nullopt;
  return ContentRange{*first, *size};
}

Result<ObjectFacts> read_object_facts(const Json& answer, const std::string& name) {
  const auto size = number_member(answer, "size");
  const auto generation = number_member(answer, "generation");
  const Json* const sum = find_member(answer, "crc32c");
  std::optional<std::uint32_t> crc32c;
  if (sum != nullptr && sum->is_string()) crc32c = parse_sum(sum->get<std::string>());
  if (!size || *size > kMaxObjectBytes || !generation || (sum != nullptr && !crc32c)) {
    return Error(Code::kDataLoss, name, ": Cloud Storage's answer has no usable size, generation and crc32c");
  }
  if (*size == 0) return Error(Code::kInvalidArgument, name, ": is empty");
  return ObjectFacts{*size, *generation, crc32c};
}

ObjectPage read_object_page(const Json& answer, std::string_view folder) {
  ObjectPage page;
  const Json* const items = find_member(answer, "items");
  for (const Json& item : items != nullptr && items->is_array() ? *items : Json::array()) {
    const std::string object = text_member(item, "name");
    if (!object.starts_with(folder)) continue;
    // The folder's own placeholder, and whatever is no file name, is passed over.
    if (std::string file = object.substr(folder.size()); is_plain_file_name(file))
      page.files.push_back(std::move(file));
  }
  page.next = text_member(answer, "nextPageToken");
  return page;
}

}  // namespace commissure
