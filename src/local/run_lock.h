#pragma once

#include <optional>
#include <string>

#include "core/result.h"

namespace commissure {

/// Held by whoever starts, changes or ends the chain of a name: `up`, `down` and the chain's supervisor, one at a time.
/// A lock file beside the chain's folder; the system lets go of it when the holder dies.
class RunLock {
 public:
  /// Waits, and says so after a second. Errors: kCancelled, a stop signal came; kPermissionDenied and
  /// kResourceExhausted, no such file can be made.
  static Result<RunLock> take(const std::string& name);
  /// Empty while somebody else holds it. Errors: as take.
  static Result<std::optional<RunLock>> try_take(const std::string& name);

  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&&) = delete;
  ~RunLock();

  /// Removes the file too, and the run folder when nothing else is in it.
  void remove_file();

 private:
  RunLock(int file, std::string name) : file_(file), name_(std::move(name)) {}

  int file_;
  std::string name_;
};

}  // namespace commissure
