#include "weights/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace commissure {

namespace {

Error open_error(const std::string& path, int error) {
  if (error == ENOENT || error == ENOTDIR) return Error(Code::kNotFound, path, ": no such file");
  if (error == EACCES || error == EPERM) {
    return Error(Code::kPermissionDenied, path, ": no permission to read it (check its mode and owner)");
  }
  return Error(Code::kUnavailable, path, ": cannot open: ", std::generic_category().message(error));
}

}  // namespace

Result<OpenFile> OpenFile::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO without a writer would otherwise hang; it changes nothing for regular files.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return open_error(path, errno);
  OpenFile file(fd, 0);
  struct stat status{};
  if (::fstat(fd, &status) != 0) return open_error(path, errno);
  if (!S_ISREG(status.st_mode)) return Error(Code::kInvalidArgument, path, ": is not a regular file");
  if (status.st_size == 0) {
    return Error(Code::kInvalidArgument, path, ": is empty (an interrupted download? fetch it again)");
  }
  file.size_ = static_cast<std::uint64_t>(status.st_size);
  return file;
}

OpenFile::~OpenFile() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace commissure
