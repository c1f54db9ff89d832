#include "weights/header_reader.h"

#include <algorithm>

#include "core/ascii.h"

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

Status refuse_placeholder(ByteSource& source) {
  constexpr std::string_view kPointer = "version https://git-lfs";
  constexpr std::uint64_t kMaxPointerBytes = 1024;  // git-lfs reads no larger ones
  const std::uint64_t n_bytes = std::min<std::uint64_t>(source.size(), kPointer.size());
  const ByteRange range = TRY(source.read(0, n_bytes));
  const std::string first = lower(std::string(reinterpret_cast<const char*>(range.bytes.data()), range.bytes.size()));
  if (source.size() <= kMaxPointerBytes && first == kPointer) {
    return Error(Code::kDataLoss, source.name(),
                 ": is a Git LFS pointer and not the file that it points to; run: git lfs pull");
  }
  if (first.starts_with("<!doctype html") || first.starts_with("<html")) {
    return Error(Code::kDataLoss, source.name(),
                 ": is a web page (a server's login or error page?) and not a model; fetch the file again");
  }
  return {};
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
