#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/result.h"

namespace commissure {

/// Where the library of the GPUs' driver is looked for, in this order: by its name, and where container platforms mount
/// it.
std::vector<std::string> driver_libraries();

/// That library, found at run time; it stays open, as it cannot be taken out of a process safely.
class DriverLibrary {
 public:
  /// Opens the first of `names` that is there. Errors: kNotFound, none is, in the loader's words for each.
  static Result<DriverLibrary> open(const std::vector<std::string>& names);

  const std::string& name() const { return name_; }

  /// Looks a function up; null where the library has none of that name.
  template <typename Call>
  void find(const char* symbol, Call& call) {
    call = reinterpret_cast<Call>(address(symbol));
  }
  /// Errors: kFailedPrecondition, the library lacks what find() was called for; the first is named.
  Status check_complete() const;

 private:
  DriverLibrary(void* handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  void* address(const char* symbol);

  void* handle_;
  std::string name_, missing_;
};

}  // namespace commissure
