#include "local/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "terminal/own_folder.h"
#include "terminal/paths.h"
#include "terminal/stop_signal.h"

namespace commissure {

namespace {

std::filesystem::path lock_file(const std::string& name) { return run_dir() / (name + ".lock"); }

/// Whether the open file is still the one that others find under its name: a holder may have removed it.
bool is_current(int file, const std::filesystem::path& path) {
  struct stat open_one{}, named{};
  return fstat(file, &open_one) == 0 && stat(path.c_str(), &named) == 0 && open_one.st_ino == named.st_ino &&
         open_one.st_dev == named.st_dev;
}

}  // namespace

RunLock::RunLock(RunLock&& other) noexcept : file_(std::exchange(other.file_, -1)), name_(std::move(other.name_)) {}

RunLock::~RunLock() {
  if (file_ >= 0) close(file_);
}

Result<std::optional<RunLock>> RunLock::try_take(const std::string& name) {
  TRY(make_own_folder(run_dir()));
  const std::filesystem::path path = lock_file(name);
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) {
    if (errno == ENOENT) return std::optional<RunLock>();  // a `down` has just removed the folder
    const Code code = errno == ENOSPC || errno == EMFILE ? Code::kResourceExhausted : Code::kPermissionDenied;
    return Error(code, "cannot open ", path.string(), ": ", std::strerror(errno));
  }
  RunLock lock(file, name);
  if (flock(file, LOCK_EX | LOCK_NB) != 0 || !is_current(file, path)) return std::optional<RunLock>();
  return std::optional<RunLock>(std::move(lock));
}

Result<RunLock> RunLock::take(const std::string& name) {
  const auto start = std::chrono::steady_clock::now();
  bool told = false;
  for (;;) {
    TRY(check_stopped());
    if (auto lock = TRY(try_take(name))) return std::move(*lock);
    if (!told && std::chrono::steady_clock::now() - start > std::chrono::seconds(1)) {
      std::fprintf(stderr, "another `commissure up` or `down` is at work on the chain %s; waiting\n", name.c_str());
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void RunLock::remove_file() {
  std::error_code ignored;
  std::filesystem::remove(lock_file(name_), ignored);
  std::filesystem::remove(run_dir(), ignored);  // only when empty
}

}  // namespace commissure
