#include "weights/read_file.h"

namespace commissure {

Result<std::string> read_whole(const std::string& location, std::uint64_t max_bytes) {
  return read_whole(*TRY(open_byte_source(location, ReadMode::kRead)), max_bytes);
}

Result<std::string> read_whole(ByteSource& source, std::uint64_t max_bytes) {
  if (source.size() > max_bytes) {
    return Error(Code::kInvalidArgument, source.name(), ": has ", source.size(), " bytes, more than the ", max_bytes,
                 " allowed");
  }
  const ByteRange range = TRY(source.read(0, source.size()));
  return std::string(reinterpret_cast<const char*>(range.bytes.data()), range.bytes.size());
}

}  // namespace commissure
