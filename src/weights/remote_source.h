#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "core/result.h"
#include "net/http.h"
#include "weights/byte_source.h"

namespace commissure {

/// The pauses between tries of one request: doubling, and given up after a few failures in a row.
class Backoff {
 public:
  explicit Backoff(std::chrono::milliseconds first_pause) : first_pause_(first_pause), pause_(first_pause) {}

  /// Sleeps and returns true where the same request may succeed now; false at once for an error that stays, or after
  /// the last try.
  bool wait_after(const Error& error);
  /// To be called after a request that brought bytes: the count of failures begins anew.
  void reset();

 private:
  const std::chrono::milliseconds first_pause_;
  std::chrono::milliseconds pause_;
  int n_failures_ = 0;
};

/// Reads longer than kPartBytes are cut into parts, the first parts of this size; no part is larger than kMaxPartBytes.
inline constexpr std::uint64_t kPartBytes = 8u << 20;
inline constexpr std::uint64_t kMaxPartBytes = 64u << 20;
/// Parts of one read that are under way at once: one connection alone does not fill a data centre's network.
inline constexpr std::uint64_t kMaxPartsInFlight = 8;

/// How large the next part of a read should be. Parts grow on a fast line, so that waiting for an answer costs little
/// beside receiving it; they shrink after a part broke, so that less has to be asked for again.
/// Threading: any thread, several at once.
class PartSize {
 public:
  /// Bytes of the next part, with `n_left` bytes of the read left. Near the end parts are smaller, so that every
  /// connection gets one.
  std::uint64_t next(std::uint64_t n_left) const;
  /// A part of `n_bytes` arrived within `time`.
  void took(std::uint64_t n_bytes, std::chrono::duration<double> time);
  /// A part's transfer broke.
  void broke();

 private:
  std::atomic<std::uint64_t> n_bytes_{kPartBytes};
};

/// An object read by HTTP ranges: long reads in parallel parts, each tried again from where it broke.
/// Threading: any thread, several at once.
class RemoteSource : public ByteSource {
 public:
  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return size_; }
  bool is_mapped() const override { return false; }
  int reads_at_once() const override { return static_cast<int>(kMaxPartsInFlight); }
  std::uint64_t bytes_read() const override { return bytes_read_; }
  /// A request costs a round trip, so more is asked for than from a disk.
  std::uint64_t preferred_read_bytes() const override { return 1u << 20; }
  Result<ByteRange> read(std::uint64_t offset, std::uint64_t n_bytes) override;

 protected:
  RemoteSource(std::string name, std::chrono::milliseconds first_pause)
      : name_(std::move(name)), first_pause_(first_pause) {}

  /// Before the first read.
  void set_url(std::string url) { url_ = std::move(url); }
  void set_size(std::uint64_t size) { size_ = size; }

  /// Fills `out` by one request at a time; what has arrived is kept when a transfer breaks.
  Status read_part(std::span<std::byte> out, std::uint64_t offset, const std::atomic<bool>& is_stopped);

  virtual Result<HttpReply> fetch(const HttpFetch& request, const HttpReceiver& receiver) = 0;
  /// What an HTTP status of 400 and above means for this object.
  virtual Error status_error(int status) const = 0;
  /// Checks that the answer, of an object that has `size` bytes now, is of the version that was opened.
  virtual Status check_version(const HttpReply& head, std::uint64_t size) = 0;
  /// Checks the bytes of the whole object, where the server gave a checksum.
  virtual Status check_whole(std::span<const std::byte>) const { return {}; }

 private:
  Status read_parts(std::span<std::byte> out, std::uint64_t offset);
  Status read_once(std::span<std::byte> out, std::uint64_t offset, std::uint64_t& done,
                   const std::atomic<bool>& is_stopped);
  Status check_head(const HttpReply& head, std::uint64_t expected_first);

  const std::string name_;
  const std::chrono::milliseconds first_pause_;
  std::string url_;  // may hold a secret: never in messages
  std::uint64_t size_ = 0;
  std::atomic<std::uint64_t> bytes_read_{0};
  PartSize part_size_;
};

}  // namespace commissure
