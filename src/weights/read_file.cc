#include "weights/read_file.h"

#include "weights/byte_source.h"

namespace commissure {

Result<std::string> read_whole(const std::string& location, std::uint64_t max_bytes) {
  const auto source = TRY(open_byte_source(location, ReadMode::kRead));
  if (source->size() > max_bytes) {
    return Error(Code::kInvalidArgument, source->name(), ": has ", source->size(), " bytes, more than the ", max_bytes,
                 " allowed");
  }
  const ByteRange range = TRY(source->read(0, source->size()));
  return std::string(reinterpret_cast<const char*>(range.bytes.data()), range.bytes.size());
}

}  // namespace commissure
