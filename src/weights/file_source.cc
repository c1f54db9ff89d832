#include "weights/file_source.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "weights/check_range.h"
#include "weights/open_file.h"

namespace commissure {

namespace {

class FileSource final : public ByteSource {
 public:
  FileSource(std::string path, OpenFile file) : path_(std::move(path)), file_(std::move(file)) {}

  const std::string& name() const override { return path_; }
  std::uint64_t size() const override { return file_.size(); }
  bool is_mapped() const override { return false; }
  std::uint64_t bytes_read() const override { return bytes_read_; }

  Result<ByteRange> read(std::uint64_t offset, std::uint64_t n_bytes) override {
    TRY(check_range(*this, offset, n_bytes));
    // for_overwrite: zeroing a large tensor first would cost as much as reading it.
    std::shared_ptr<std::byte[]> buffer = std::make_shared_for_overwrite<std::byte[]>(n_bytes);
    std::uint64_t done = 0;
    while (done < n_bytes) {
      const ssize_t got = ::pread(file_.fd(), buffer.get() + done, n_bytes - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        return Error(Code::kUnavailable, path_, ": reading ", n_bytes, " bytes at ", offset,
                     " failed: ", std::generic_category().message(errno));
      }
      if (got == 0) {
        return Error(Code::kDataLoss, path_, ": ends at byte ", offset + done, ", it had ", size(),
                     " when it was opened (is it still being written?)");
      }
      done += static_cast<std::uint64_t>(got);
    }
    bytes_read_ += n_bytes;
    return ByteRange{{buffer.get(), n_bytes}, buffer};
  }

  void prefetch(std::uint64_t offset, std::uint64_t n_bytes) override {
    ::posix_fadvise(file_.fd(), static_cast<off_t>(offset), static_cast<off_t>(n_bytes), POSIX_FADV_WILLNEED);
  }

 private:
  const std::string path_;
  const OpenFile file_;
  std::atomic<std::uint64_t> bytes_read_{0};
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_file_source(const std::string& path) {
  return std::make_unique<FileSource>(path, TRY(OpenFile::open(path)));
}

}  // namespace commissure
