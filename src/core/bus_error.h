#pragma once

#include <cstddef>
#include <string_view>

namespace commissure {

/// Says which file a piece of mapped memory is, for as long as the object lives: a file that is cut short while it is
/// mapped, or a disk that fails, makes the next touch of a lost page raise SIGBUS, which no code can turn into an
/// error. Mappings beyond the first 64 at a time have no name. Threading: any thread.
class NamedMapping {
 public:
  /// `name` is cut at 255 bytes.
  NamedMapping(const void* begin, std::size_t n_bytes, std::string_view name);
  NamedMapping(const NamedMapping&) = delete;
  NamedMapping& operator=(const NamedMapping&) = delete;
  ~NamedMapping();

 private:
  int slot_;  // -1: none was free
};

/// From now on the process ends with status 1 and a line on stderr that names the file, instead of a bare SIGBUS.
/// Threading: at start, before other threads.
void explain_bus_errors();

}  // namespace commissure
