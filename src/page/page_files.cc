#include "page/page_files.h"

#include <zlib.h>

#include <algorithm>

namespace commissure {

const PageFile* find_page_file(std::span<const PageFile> files, std::string_view path) {
  const auto found = std::ranges::lower_bound(files, path, {}, &PageFile::path);
  return found != files.end() && found->path == path ? &*found : nullptr;
}

Result<std::string> unpacked(const PageFile& file) {
  constexpr int kGzip = 16 + MAX_WBITS;  // zlib's word for: with gzip's header
  std::string plain(file.n_bytes, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, kGzip) != Z_OK) return Error(Code::kInternal, "zlib did not start");
  stream.next_in = const_cast<unsigned char*>(file.begin);  // which zlib only reads
  stream.avail_in = static_cast<unsigned>(file.end - file.begin);
  stream.next_out = reinterpret_cast<unsigned char*>(plain.data());
  stream.avail_out = file.n_bytes;
  const int done = inflate(&stream, Z_FINISH);
  const bool is_whole = done == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  if (!is_whole) return Error(Code::kInternal, "the page's file ", file.path, " is broken in this program");
  return plain;
}

}  // namespace commissure
