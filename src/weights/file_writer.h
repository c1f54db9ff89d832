#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/result.h"

namespace commissure {

/// A file that is written under a name of its own; finish() gives it its own name, and without finish() the destructor
/// removes it.
class FileWriter {
 public:
  /// Errors: kPermissionDenied or kUnavailable, the folder cannot be written; kResourceExhausted, the disk is full.
  static Result<std::unique_ptr<FileWriter>> create(std::string path);
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();

  /// Appends. Errors: kResourceExhausted, the disk is full, or a file may not be so large; kUnavailable, the write
  /// failed otherwise.
  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text) { return write(std::as_bytes(std::span(text))); }
  /// Zeros up to the next multiple of `alignment`.
  Status pad(std::uint64_t alignment);
  /// Writes where nothing was appended, or over what was; n_bytes() does not count it. Errors: as write.
  Status write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Makes the file visible. Errors: as write.
  Status finish();
  std::uint64_t n_bytes() const { return n_bytes_; }

 private:
  explicit FileWriter(std::string path) : path_(std::move(path)), temporary_(path_ + ".XXXXXX") {}

  const std::string path_;
  std::string temporary_;
  int fd_ = -1;
  std::uint64_t n_bytes_ = 0;
};

}  // namespace commissure
