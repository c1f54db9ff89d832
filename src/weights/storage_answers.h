#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/result.h"

/// What Cloud Storage and servers of byte ranges answer, as values.
namespace commissure {

/// "bytes 0-99/1234" as 0 and 1234.
struct ContentRange {
  std::uint64_t first;
  std::uint64_t size;  ///< of the whole object
};

/// Nothing when the field is malformed or does not say the size.
std::optional<ContentRange> parse_content_range(std::string_view field);

/// What Cloud Storage says of an object.
struct ObjectFacts {
  std::uint64_t size = 0;  ///< above zero
  std::uint64_t generation = 0;
  std::optional<std::uint32_t> crc32c = {};
};

/// `name` is the object's, for messages. Errors: kDataLoss, a fact is missing or absurd; kInvalidArgument, the object
/// is empty.
Result<ObjectFacts> read_object_facts(const Json& answer, const std::string& name);

/// One page of a folder's list.
struct ObjectPage {
  std::vector<std::string> files;  ///< plain names of the objects right below the folder
  std::string next;                ///< token of the next page; "" on the last
};

/// `folder` is what all names begin with; whatever else the page holds is passed over.
ObjectPage read_object_page(const Json& answer, std::string_view folder);

}  // namespace commissure
