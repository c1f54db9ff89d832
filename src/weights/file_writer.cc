#include "weights/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

namespace commissure {
namespace {

Error io_error(const std::string& path, const char* what) {
  const int cause = errno;
  const Code code = cause == ENOSPC || cause == EDQUOT                    ? Code::kResourceExhausted
                    : cause == EACCES || cause == EPERM || cause == EROFS ? Code::kPermissionDenied
                                                                          : Code::kUnavailable;
  return Error(code, path, ": cannot ", what, ": ", std::generic_category().message(cause));
}

}  // namespace

Result<std::unique_ptr<FileWriter>> FileWriter::create(std::string path) {
  std::string temporary = path + ".part";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return io_error(temporary, "create the file");
  return std::unique_ptr<FileWriter>(new FileWriter(std::move(path), std::move(temporary), fd));
}

FileWriter::~FileWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Status FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return io_error(temporary_, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    n_bytes_ += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status FileWriter::pad(std::uint64_t alignment) {
  const std::string zeros((alignment - n_bytes_ % alignment) % alignment, '\0');
  return write(std::string_view(zeros));
}

Status FileWriter::finish() {
  if (::fsync(fd_) != 0) return io_error(temporary_, "write");
  if (::close(std::exchange(fd_, -1)) != 0) return io_error(temporary_, "write");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return io_error(path_, "rename to it");
  return {};
}

}  // namespace commissure
