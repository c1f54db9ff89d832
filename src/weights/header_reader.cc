#include "weights/header_reader.h"

#include <algorithm>

namespace commissure {

Status HeaderReader::refill(std::uint64_t n_bytes, std::string_view what) {
  if (n_bytes > remaining()) return truncated(n_bytes, what);
  const std::uint64_t wanted = std::max(n_bytes, source_.preferred_read_bytes());
  window_ = TRY(source_.read(position_, std::min(wanted, remaining())));
  window_start_ = position_;
  return {};
}

Result<std::string_view> HeaderReader::text(std::uint64_t max_bytes, std::string_view what) {
  const auto length = TRY(number<std::uint64_t>(what));
  if (length > max_bytes) {
    return Error(Code::kDataLoss, name(), ": ", what, " at byte ", position_ - 8, " claims ", length,
                 " bytes, more than the ", max_bytes, " allowed: the file is corrupt");
  }
  const auto bytes = TRY(take(length, what));
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Status HeaderReader::skip(std::uint64_t n_bytes, std::string_view what) {
  if (n_bytes > remaining()) return truncated(n_bytes, what);
  position_ += n_bytes;
  if (position_ > window_start_ + window_.bytes.size()) {
    window_ = {};
    window_start_ = position_;
  }
  return {};
}

Error HeaderReader::truncated(std::uint64_t n_wanted, std::string_view what) const {
  return Error(Code::kDataLoss, name(), ": ends inside ", what, ": byte ", position_, " needs ", n_wanted,
               " more bytes, ", n_wanted - remaining(), " are missing (truncated or corrupt: fetch the file again)");
}

std::string printable(std::string_view text) {
  constexpr std::size_t kMaxShown = 64;
  std::string shown = "\"";
  for (const char c : text.substr(0, kMaxShown)) {
    const auto byte = static_cast<unsigned char>(c);
    shown += byte < 0x20 || byte >= 0x7f || c == '"' ? '?' : c;
  }
  return shown + (text.size() > kMaxShown ? "...\"" : "\"");
}

}  // namespace commissure
