#include "weights/mapped_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "core/index.h"
#include "weights/check_range.h"
#include "weights/open_file.h"

namespace commissure {

namespace {

// Linux 5.14; older headers lack the name, older kernels answer EINVAL.
constexpr int kPopulateRead = 22;

class MappedSource final : public ByteSource {
 public:
  MappedSource(std::string path, std::shared_ptr<const MappedFile> file)
      : path_(std::move(path)), file_(std::move(file)) {}

  const std::string& name() const override { return path_; }
  std::uint64_t size() const override { return file_->bytes().size(); }
  bool is_mapped() const override { return true; }
  std::uint64_t bytes_read() const override { return bytes_read_; }

  Result<ByteRange> read(std::uint64_t offset, std::uint64_t n_bytes) override {
    TRY(check_range(*this, offset, n_bytes));
    bytes_read_ += n_bytes;
    return ByteRange{file_->bytes().subspan(offset, n_bytes), file_};
  }

  void prefetch(std::uint64_t offset, std::uint64_t n_bytes) override {
    const auto pages = whole_pages(offset, n_bytes, Rounding::kOutwards);
    if (pages.empty()) return;
    // WILLNEED starts the disk at full depth; POPULATE then maps the pages, so that the first step does not fault.
    ::madvise(pages.data(), pages.size(), MADV_WILLNEED);
    ::madvise(pages.data(), pages.size(), kPopulateRead);
  }

  void release(std::uint64_t offset, std::uint64_t n_bytes) override {
    const auto pages = whole_pages(offset, n_bytes, Rounding::kInwards);
    if (!pages.empty()) ::madvise(pages.data(), pages.size(), MADV_DONTNEED);
  }

 private:
  enum class Rounding { kOutwards, kInwards };

  /// The mapping's pages that cover the range, or that it covers.
  std::span<std::byte> whole_pages(std::uint64_t offset, std::uint64_t n_bytes, Rounding rounding) const {
    if (n_bytes == 0 || !check_range(*this, offset, n_bytes)) return {};
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const std::uint64_t end = offset + n_bytes;
    const bool out = rounding == Rounding::kOutwards;
    const std::uint64_t first = (out ? offset : offset + page - 1) / page * page;
    const std::uint64_t last = out ? end : end / page * page;
    if (first >= last) return {};
    // madvise takes a pointer to non-const; nothing is written.
    return {const_cast<std::byte*>(file_->bytes().data()) + first, last - first};
  }

  const std::string path_;
  const std::shared_ptr<const MappedFile> file_;  // shared: every range handed out keeps the mapping alive
  std::atomic<std::uint64_t> bytes_read_{0};
};

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  const OpenFile file = TRY(OpenFile::open(path));
  void* address = ::mmap(nullptr, file.size(), PROT_READ, MAP_SHARED, file.fd(), 0);
  if (address == MAP_FAILED) {
    return Error(Code::kUnavailable, path, ": cannot map ", file.size(),
                 " bytes: ", std::generic_category().message(errno));
  }
  return std::shared_ptr<const MappedFile>(
      new MappedFile({static_cast<const std::byte*>(address), to_size(file.size())}, path));
}

MappedFile::~MappedFile() { ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size()); }

Result<std::unique_ptr<ByteSource>> open_mapped_source(const std::string& path) {
  return std::make_unique<MappedSource>(path, TRY(MappedFile::open(path)));
}

}  // namespace commissure
