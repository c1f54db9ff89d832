#pragma once

#include <zlib.h>

#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "page/page_files.h"

namespace commissure::testing {

/// Files of a page as a build would embed them; given in the order of their paths.
class PackedPage {
 public:
  explicit PackedPage(const std::vector<std::pair<std::string, std::string>>& files) {
    for (const auto& [path, text] : files) {
      const std::string& kept_path = texts_.emplace_back(path);
      const std::string& etag = texts_.emplace_back("\"of " + path + "\"");
      const std::string& packed = texts_.emplace_back(pack(text));
      const auto* const begin = reinterpret_cast<const unsigned char*>(packed.data());
      files_.push_back({.path = kept_path,
                        .content_type = path.ends_with(".js") ? "text/javascript" : "text/html; charset=utf-8",
                        .etag = etag,
                        .is_immutable = path.starts_with("/_next/"),
                        .n_bytes = static_cast<std::uint32_t>(text.size()),
                        .begin = begin,
                        .end = begin + packed.size()});
    }
  }
  std::span<const PageFile> files() const { return files_; }

 private:
  static std::string pack(const std::string& text) {
    z_stream stream{};
    deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&stream, text.size()) + 32, '\0');
    stream.next_in = reinterpret_cast<unsigned char*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<unsigned>(text.size());
    stream.next_out = reinterpret_cast<unsigned char*>(out.data());
    stream.avail_out = static_cast<unsigned>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
  }

  std::deque<std::string> texts_;  // where the files' parts lie
  std::vector<PageFile> files_;
};

}  // namespace commissure::testing
