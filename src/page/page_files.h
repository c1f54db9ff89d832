#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// One file of the web page, as the build embedded it.
struct PageFile {
  std::string_view path;  ///< as browsers ask for it, "/dashboard"; "/" is the chat
  std::string_view content_type;
  std::string_view etag;       ///< strong, in its quotes
  bool is_immutable = false;   ///< its name has a hash of its content, so it never changes
  std::uint32_t n_bytes = 0;   ///< of the file itself
  const unsigned char* begin;  ///< the file, packed by gzip
  const unsigned char* end;

  std::string_view packed() const {
    return {reinterpret_cast<const char*>(begin), static_cast<std::size_t>(end - begin)};
  }
};

/// What this program was built with, in the order of paths; nothing in a program without the page.
std::span<const PageFile> page_files();

/// The file of a path among files in the order of their paths; null where there is none.
const PageFile* find_page_file(std::span<const PageFile> files, std::string_view path);

/// The file itself, for clients that unpack nothing.
/// Errors: kInternal, the bytes are not what the build wrote.
Result<std::string> unpacked(const PageFile& file);

}  // namespace commissure
