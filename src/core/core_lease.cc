#include "core/core_lease.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>
#include <tuple>

#include "core/check.h"

namespace commissure {

struct CoreLease::Shared {
  std::uint64_t magic;
  std::uint64_t boot;    ///< a mutex held across a reboot would never be released
  pthread_mutex_t line;  ///< held by the one who is next
  pthread_mutex_t lease;
};

namespace {

constexpr std::uint64_t kMagic = 0x31657361656c6f63;  // "colease1"
constexpr auto kSpin = std::chrono::microseconds(20);
constexpr auto kParkSlice = std::chrono::milliseconds(50);  // how late a stop request may be seen

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ < 0) return;
    flock(fd_, LOCK_UN);  // closing would not do: the mapping keeps the open file, and so its lock, alive
    close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::uint64_t boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return std::hash<std::string>{}(id);
}

Error system_error(const std::string& path, const char* what) {
  const Code code = errno == EACCES || errno == EPERM ? Code::kPermissionDenied : Code::kUnavailable;
  return Error(code, "core lease ", path, ": ", what, ": ", std::strerror(errno));
}

void init_mutex(pthread_mutex_t* mutex) {
  pthread_mutexattr_t attributes;
  CHECK(pthread_mutexattr_init(&attributes) == 0);
  CHECK(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
  CHECK(pthread_mutex_init(mutex, &attributes) == 0);
  pthread_mutexattr_destroy(&attributes);
}

/// The state a mutex protects is the turn itself, so one whose owner died is as good as new.
bool is_locked(int result, pthread_mutex_t* mutex) {
  if (result == EOWNERDEAD) return pthread_mutex_consistent(mutex) == 0;
  return result == 0;
}

Status lock(pthread_mutex_t* mutex, bool spin, const std::stop_token& stop) {
  const auto spin_end = std::chrono::steady_clock::now() + kSpin;
  do {
    const int result = pthread_mutex_trylock(mutex);
    if (is_locked(result, mutex)) return {};
    if (result != EBUSY) return Error(Code::kInternal, "core lease: ", std::strerror(result));
  } while (spin && std::chrono::steady_clock::now() < spin_end);
  while (!stop.stop_requested()) {
    const auto until = (std::chrono::steady_clock::now() + kParkSlice).time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(until);
    const timespec deadline{seconds.count(), std::chrono::nanoseconds(until - seconds).count()};
    const int result = pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &deadline);
    if (is_locked(result, mutex)) return {};
    if (result != ETIMEDOUT) return Error(Code::kInternal, "core lease: ", std::strerror(result));
  }
  return Error(Code::kCancelled, "stopped while waiting for the core lease");
}

}  // namespace

Result<std::unique_ptr<CoreLease>> CoreLease::open(const std::string& path) {
  const File file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.fd() < 0) return system_error(path, "cannot open");
  if (flock(file.fd(), LOCK_EX) != 0) return system_error(path, "cannot lock");  // until `file` goes
  struct stat info{};
  if (fstat(file.fd(), &info) != 0) return system_error(path, "cannot stat");
  const bool is_new = info.st_size == 0;
  if (!S_ISREG(info.st_mode) || (!is_new && info.st_size != sizeof(Shared))) {
    return Error(Code::kFailedPrecondition, "core lease ", path, ": not a lease file; name another path");
  }
  // Not ftruncate: on a full disk the first write through the mapping would end the process.
  if (is_new && (errno = posix_fallocate(file.fd(), 0, sizeof(Shared))) != 0) {
    const Error problem = system_error(path, "cannot size");
    std::ignore = ftruncate(file.fd(), 0);
    return problem;
  }
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  if (memory == MAP_FAILED) return system_error(path, "cannot map");
  auto* shared = static_cast<Shared*>(memory);
  std::unique_ptr<CoreLease> lease(new CoreLease(shared, path));
  if (!is_new && shared->magic != kMagic && shared->magic != 0) {
    return Error(Code::kFailedPrecondition, "core lease ", path, ": not a lease file; name another path");
  }
  // magic 0: whoever created the file died before it was done.
  if (shared->magic != kMagic || shared->boot != boot_id()) {
    init_mutex(&shared->line);
    init_mutex(&shared->lease);
    shared->boot = boot_id();
    shared->magic = kMagic;
  }
  return lease;
}

CoreLease::CoreLease(Shared* shared, const std::string& path) : shared_(shared), named_(shared, sizeof(Shared), path) {}

CoreLease::~CoreLease() { munmap(shared_, sizeof(Shared)); }

Result<CoreLease::Hold> CoreLease::acquire(const std::stop_token& stop) {
  TRY(lock(&shared_->line, /*spin=*/false, stop));
  Status status = lock(&shared_->lease, /*spin=*/true, stop);
  pthread_mutex_unlock(&shared_->line);
  if (!status) return std::move(status).error();
  return Hold(this);
}

void CoreLease::release() { pthread_mutex_unlock(&shared_->lease); }

}  // namespace commissure
