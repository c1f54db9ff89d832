#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/result.h"

namespace commissure {

/// Bytes read from a source, kept alive by `owner` (the mapping, or the buffer that was filled).
struct ByteRange {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // shared: one mapping serves many ranges
};

/// Where a checkpoint's bytes come from: a file read in ranges, a mapped file, an HTTPS or Cloud Storage object.
/// Threading: any thread, several at once.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// Path or URL without credentials, for messages.
  virtual const std::string& name() const = 0;
  virtual std::uint64_t size() const = 0;

  /// Bytes [offset, offset + n_bytes).
  /// Errors: kOutOfRange, past the end; kUnavailable or kDataLoss, the read failed or fell short.
  virtual Result<ByteRange> read(std::uint64_t offset, std::uint64_t n_bytes) = 0;

  /// Whether read() hands out the page cache itself (no private memory, no copy).
  virtual bool is_mapped() const = 0;

  /// Bytes that read() was asked for so far.
  virtual std::uint64_t bytes_read() const = 0;

  /// How many reads are worth having under way at once: more than one where each read waits for a round trip.
  virtual int reads_at_once() const { return 1; }

  /// How many bytes a reader of headers should ask for at once: few where a read is cheap, so that little is read in
  /// vain.
  virtual std::uint64_t preferred_read_bytes() const { return 64u << 10; }

  /// Hints that [offset, offset + n_bytes) is wanted soon, all of it. Never fails; does nothing where it cannot help.
  virtual void prefetch(std::uint64_t offset, std::uint64_t n_bytes);
  /// Hints that [offset, offset + n_bytes) has been copied elsewhere and its pages may go.
  virtual void release(std::uint64_t offset, std::uint64_t n_bytes);
};

enum class ReadMode { kMap, kRead };

/// Opens a local path, mapped or read into buffers as `mode` says, or an http(s):// URL or gs:// object, which is
/// always read by ranges.
/// Errors: kNotFound; kPermissionDenied; kUnavailable.
Result<std::unique_ptr<ByteSource>> open_byte_source(const std::string& location, ReadMode mode);

}  // namespace commissure
