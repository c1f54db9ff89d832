#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/result.h"
#include "weights/byte_source.h"

namespace commissure {

/// A little-endian cursor over the front of a source. Reads a window at a time, so that a header costs few reads and
/// little more than its own bytes.
/// Threading: one thread.
class HeaderReader {
 public:
  explicit HeaderReader(ByteSource& source) : source_(source), size_(source.size()) {}

  const std::string& name() const { return source_.name(); }
  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return size_ - position_; }

  /// The next `n_bytes`, valid until the next call; `what` names them in messages.
  /// Errors: kDataLoss, the file ends before; kUnavailable, the read failed.
  Result<std::span<const std::byte>> take(std::uint64_t n_bytes, std::string_view what) {
    if (n_bytes > window_left()) [[unlikely]]
      TRY(refill(n_bytes, what));
    const auto bytes = window_.bytes.subspan(position_ - window_start_, n_bytes);
    position_ += n_bytes;
    return bytes;
  }

  /// One integer or float. Errors: as take.
  template <typename T>
  Result<T> number(std::string_view what) {
    static_assert(std::is_trivially_copyable_v<T> && std::endian::native == std::endian::little);
    const auto bytes = TRY(take(sizeof(T), what));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  /// A string with its 64-bit length before it, valid until the next call.
  /// Errors: as take; kDataLoss, longer than `max_bytes` or than the rest of the file.
  Result<std::string_view> text(std::uint64_t max_bytes, std::string_view what);

  /// Skips `n_bytes`; bytes that are not in the window yet are never read. Errors: as take.
  Status skip(std::uint64_t n_bytes, std::string_view what);

  /// The error for a file that ends before `n_wanted` more bytes of `what`.
  Error truncated(std::uint64_t n_wanted, std::string_view what) const;

 private:
  std::uint64_t window_left() const { return window_start_ + window_.bytes.size() - position_; }
  Status refill(std::uint64_t n_bytes, std::string_view what);

  ByteSource& source_;
  const std::uint64_t size_;
  ByteRange window_;
  std::uint64_t window_start_ = 0;  // window_start_ <= position_ <= window_start_ + window_.bytes.size()
  std::uint64_t position_ = 0;
};

/// Checks that a source is not a placeholder for a model's file that was never fetched. Errors: kDataLoss, it is a Git
/// LFS pointer or a web page, with what to do; kUnavailable, the read failed.
Status refuse_placeholder(ByteSource& source);

/// Text from a file made fit for a one-line message: in quotes, cut at 64 bytes, control bytes replaced.
std::string printable(std::string_view text);

}  // namespace commissure
