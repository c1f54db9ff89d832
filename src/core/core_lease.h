#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "core/bus_error.h"
#include "core/result.h"

namespace commissure {

/// The right to compute, shared by the processes of one machine: one holder at a time, so that the kernel pools of
/// several stages do not fight for the same cores. Waiting processes park.
///
/// The state is a robust mutex in a small file that all stages map. A holder that dies gives the lease back. A second
/// mutex is the waiting line: the first process that waits for the lease holds that mutex, so a process that releases
/// the lease and asks for it again at once queues behind.
/// Threading: acquire and release on the same thread; one thread per object at a time.
class CoreLease {
 public:
  /// The lease, held until this object is destroyed; a default object holds nothing.
  class Hold {
   public:
    Hold() = default;
    explicit Hold(CoreLease* lease) : lease_(lease) {}
    Hold(Hold&& other) noexcept : lease_(std::exchange(other.lease_, nullptr)) {}
    Hold& operator=(Hold&& other) noexcept {
      std::swap(lease_, other.lease_);
      return *this;
    }
    ~Hold() { give_back(); }
    void give_back() {
      if (lease_ != nullptr) std::exchange(lease_, nullptr)->release();
    }

   private:
    CoreLease* lease_ = nullptr;
  };

  /// Opens or creates the file at `path` (mode 0600). A file left by an earlier boot is started afresh.
  /// Errors: kPermissionDenied, kUnavailable; kFailedPrecondition, the file is something else.
  static Result<std::unique_ptr<CoreLease>> open(const std::string& path);

  CoreLease(const CoreLease&) = delete;
  CoreLease& operator=(const CoreLease&) = delete;
  ~CoreLease();

  /// Waits for the lease: spins for a few microseconds, then parks. Errors: kCancelled, `stop` was requested;
  /// kInternal, the file's content was damaged by someone else.
  Result<Hold> acquire(const std::stop_token& stop = {});

 private:
  struct Shared;
  CoreLease(Shared* shared, const std::string& path);
  void release();

  Shared* shared_;  // the mapped file
  const NamedMapping named_;
};

}  // namespace commissure
