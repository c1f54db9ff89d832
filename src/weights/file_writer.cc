#include "weights/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace commissure {
namespace {

Error io_error(const std::string& path, const char* what) {
  const int cause = errno;
  const Code code = cause == ENOSPC || cause == EDQUOT || cause == EFBIG  ? Code::kResourceExhausted
                    : cause == EACCES || cause == EPERM || cause == EROFS ? Code::kPermissionDenied
                                                                          : Code::kUnavailable;
  return Error(code, path, ": cannot ", what, ": ", std::generic_category().message(cause));
}

}  // namespace

Result<std::unique_ptr<FileWriter>> FileWriter::create(std::string path) {
  std::unique_ptr<FileWriter> writer(new FileWriter(std::move(path)));
  // A name of its own, also beside a process of another container with the same id.
  writer->fd_ = ::mkostemp(writer->temporary_.data(), O_CLOEXEC);
  if (writer->fd_ < 0) return io_error(writer->temporary_, "create the file");
  if (::fchmod(writer->fd_, 0644) != 0) return io_error(writer->temporary_, "make the file readable");
  return writer;
}

FileWriter::~FileWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Status FileWriter::write(std::span<const std::byte> bytes) {
  TRY(write_at(n_bytes_, bytes));
  n_bytes_ += bytes.size();
  return {};
}

Status FileWriter::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return io_error(temporary_, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status FileWriter::pad(std::uint64_t alignment) {
  const std::string zeros((alignment - n_bytes_ % alignment) % alignment, '\0');
  return write(std::string_view(zeros));
}

Status FileWriter::finish() {
  if (::fsync(fd_) != 0) return io_error(temporary_, "write");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return io_error(path_, "rename to it");
  ::close(std::exchange(fd_, -1));
  return {};
}

}  // namespace commissure
