#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/result.h"

namespace commissure {

/// A file that is written from its beginning to its end under another name; finish() renames it, and without finish()
/// the destructor removes it.
class FileWriter {
 public:
  /// Errors: kPermissionDenied or kUnavailable.
  static Result<std::unique_ptr<FileWriter>> create(std::string path);
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();

  /// Errors: kResourceExhausted, the disk is full; kUnavailable, the write failed otherwise.
  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text) { return write(std::as_bytes(std::span(text))); }
  /// Zeros up to the next multiple of `alignment`.
  Status pad(std::uint64_t alignment);
  /// Makes the file visible. Errors: as write.
  Status finish();
  std::uint64_t n_bytes() const { return n_bytes_; }

 private:
  FileWriter(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}

  const std::string path_, temporary_;
  int fd_;
  std::uint64_t n_bytes_ = 0;
};

}  // namespace commissure
