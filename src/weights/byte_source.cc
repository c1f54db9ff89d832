#include "weights/byte_source.h"

#include "weights/cloud_source.h"
#include "weights/file_source.h"
#include "weights/http_source.h"
#include "weights/location.h"
#include "weights/mapped_file.h"

namespace commissure {

void ByteSource::prefetch(std::uint64_t, std::uint64_t) {}
void ByteSource::release(std::uint64_t, std::uint64_t) {}

Result<std::unique_ptr<ByteSource>> open_byte_source(const std::string& location, ReadMode mode) {
  if (is_cloud(location)) return open_cloud_source(location);
  if (is_url(location)) return open_http_source(location);
  return mode == ReadMode::kMap ? open_mapped_source(location) : open_file_source(location);
}

}  // namespace commissure
