#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/result.h"
#include "weights/byte_source.h"
#include "weights/checkpoint.h"
#include "weights/file_writer.h"
#include "weights/mapped_file.h"

/// A checkpoint's matrices once more, in the layout that a device's kernels read fastest; made once by
/// `commissure pack`, mapped by every process. The checkpoint stays as it is and stays needed. A matrix is summed once
/// more whenever a process takes it, before its first use: 0.14 s for each GB, of what is to be read anyway.
///
///   0    magic "CMSRPACK", u32 version, u32 CRC-32C of the table, u64 offset and u64 bytes of the table, zeros to 64
///   64   the matrices, each at a multiple of 64
///   end  the table, JSON: {"layout", "fingerprint", "tensors": {name: [offset, bytes, CRC-32C of samples of the
///   source, CRC-32C of the packed bytes]}}
/// Integers are little-endian. The table ends with the file, so one that was cut short is seen at once.
namespace commissure {

/// Where a checkpoint's pack file lies: MODEL.gguf.LAYOUT.pack, or inside a model folder. Empty for a remote model.
std::string pack_path(const Checkpoint& checkpoint, std::string_view layout);

/// Threading: const functions from any thread.
class PackFile {
 public:
  /// Errors: kNotFound; kDataLoss, cut short or damaged; kFailedPrecondition, made for another model, layout or
  /// version.
  static Result<std::shared_ptr<const PackFile>> open(const std::string& path, std::string_view layout,
                                                      const std::string& fingerprint);

  bool holds(std::string_view name) const { return entries_.contains(name); }

  /// The packed bytes of a tensor. Reads them all, to see that they are as they were written, and samples of `source`,
  /// its bytes in the checkpoint, to see that it is the one that was packed.
  /// Errors: kNotFound, not in the file; kFailedPrecondition, packed from other bytes or not `n_bytes` long; kDataLoss,
  /// damaged.
  Result<ByteRange> find(const std::string& name, std::span<const std::byte> source, std::size_t n_bytes) const;

 private:
  struct Entry {
    std::uint64_t offset, n_bytes;
    std::uint32_t samples, sum;
  };
  PackFile() = default;
  Status read_table(const std::string& path, std::string_view layout, const std::string& fingerprint);

  std::string path_;
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, Entry, std::less<>> entries_;
};

/// Writes a pack file under another name; finish() renames it, and without finish() the destructor removes it.
class PackWriter {
 public:
  /// Errors: kPermissionDenied or kUnavailable, the folder cannot be written.
  static Result<std::unique_ptr<PackWriter>> create(std::string path, std::string layout, std::string fingerprint);

  /// Errors: kResourceExhausted, the disk is full; kUnavailable, the write failed otherwise.
  Status add(const std::string& name, std::span<const std::byte> source, std::span<const std::byte> packed);
  /// Makes the file visible. Errors: as add.
  Status finish();
  std::uint64_t n_bytes() const { return end_; }

 private:
  PackWriter(std::unique_ptr<FileWriter> file, std::string layout, std::string fingerprint)
      : file_(std::move(file)), layout_(std::move(layout)), fingerprint_(std::move(fingerprint)) {}

  std::unique_ptr<FileWriter> file_;
  std::string layout_, fingerprint_;
  std::uint64_t end_ = 64;
  Json tensors_ = Json::object();
};

}  // namespace commissure
