#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"

namespace commissure {

/// An open regular file, closed with the object.
class OpenFile {
 public:
  /// Errors: kNotFound; kPermissionDenied; kInvalidArgument, not a regular file or empty; kUnavailable.
  static Result<OpenFile> open(const std::string& path);

  OpenFile(OpenFile&& other) noexcept : fd_(other.fd_), size_(other.size_) { other.fd_ = -1; }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile();

  int fd() const { return fd_; }
  /// Bytes, at the time it was opened.
  std::uint64_t size() const { return size_; }

 private:
  OpenFile(int fd, std::uint64_t size) : fd_(fd), size_(size) {}

  int fd_;
  std::uint64_t size_;
};

}  // namespace commissure
