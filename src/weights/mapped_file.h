#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "core/bus_error.h"
#include "core/result.h"
#include "weights/byte_source.h"

namespace commissure {

/// A whole file mapped read-only and unmapped with the object. Mapping reads nothing; a page is read when it is
/// touched or prefetched, and belongs to the page cache, shared by all processes that map the file.
///
/// The size is checked once, at open. A file that shrinks while it is mapped ends the process at the next touch of the
/// lost pages (core/bus_error.h): replace model files by renaming, never in place.
class MappedFile {
 public:
  /// Errors: as OpenFile::open; kUnavailable, the kernel refused the mapping.
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  MappedFile(std::span<const std::byte> bytes, const std::string& path)
      : bytes_(bytes), named_(bytes.data(), bytes.size(), path) {}

  std::span<const std::byte> bytes_;
  const NamedMapping named_;
};

/// A local file whose ranges are views of its mapping.
/// Errors: as MappedFile::open.
Result<std::unique_ptr<ByteSource>> open_mapped_source(const std::string& path);

}  // namespace commissure
