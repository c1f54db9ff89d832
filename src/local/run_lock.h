#pragma once

#include <optional>
#include <string>

#include "core/result.h"

namespace commissure {

/// The right to start, change or end the chain of one name. `up`, `down` and the chain's supervisor hold it one at a
/// time. It is a lock on a file beside the chain's folder, which the system releases when its holder dies.
class RunLock {
 public:
  /// Waits until the lock is free, and says so on standard error after a second. Errors: kCancelled, a stop signal
  /// came; kPermissionDenied or kResourceExhausted, the file cannot be made.
  static Result<RunLock> take(const std::string& name);
  /// Empty while somebody else holds it. Errors: as take.
  static Result<std::optional<RunLock>> try_take(const std::string& name);

  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&&) = delete;
  ~RunLock();

  /// Removes the lock's file too, and the run folder when nothing else is in it.
  void remove_file();

 private:
  RunLock(int file, std::string name) : file_(file), name_(std::move(name)) {}

  int file_;
  std::string name_;
};

}  // namespace commissure
