#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace commissure {

/// Whether a location is an http:// or https:// URL (in any case of letters) rather than a path.
bool is_url(std::string_view location);

/// Whether a location is gs://BUCKET[/NAME], in Cloud Storage.
bool is_cloud(std::string_view location);

/// The last segment of a path or URL, without a URL's query.
std::string_view file_name_of(std::string_view location);

/// The location of `file_name` beside `location`; a URL keeps its query, since a token in it is needed for both files.
std::string sibling_of(std::string_view location, std::string_view file_name);

/// Whether a file of this name holds an image encoder beside a GGUF model: llama.cpp's tools write "mmproj" into it.
bool is_mmproj_name(std::string_view file_name);

/// Whether a name from a file may be looked up in the model's folder: no separators, no "..", not empty.
bool is_plain_file_name(std::string_view name);

/// The parts of "model-00002-of-00005.gguf": how split GGUF and sharded safetensors name their files.
struct SeriesName {
  std::string prefix;  ///< "model"
  int number;          ///< 2, counted from 1
  int count;           ///< 5
  std::string suffix;  ///< ".gguf"

  /// The name of another file of the series.
  std::string with_number(int other) const;
};

/// Nothing when the name does not end in -%05d-of-%05d and an extension, or its numbers are out of order.
std::optional<SeriesName> parse_series_name(std::string_view file_name);

}  // namespace commissure
