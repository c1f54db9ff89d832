#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "weights/byte_source.h"
#include "weights/check_range.h"

namespace commissure {

/// Bytes in memory as a source: for tests and fuzzing. One thread.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::string bytes) : bytes_(std::make_shared<const std::string>(std::move(bytes))) {}

  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return bytes_->size(); }
  bool is_mapped() const override { return false; }
  std::uint64_t bytes_read() const override { return bytes_read_; }
  std::uint64_t preferred_read_bytes() const override { return 256; }  // small: windows end everywhere

  Result<ByteRange> read(std::uint64_t offset, std::uint64_t n_bytes) override {
    TRY(check_range(*this, offset, n_bytes));
    bytes_read_ += n_bytes;
    return ByteRange{std::as_bytes(std::span(*bytes_)).subspan(offset, n_bytes), bytes_};
  }

 private:
  const std::string name_ = "memory";
  const std::shared_ptr<const std::string> bytes_;  // shared: ranges handed out keep it alive
  std::uint64_t bytes_read_ = 0;
};

}  // namespace commissure
