#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace commissure {

/// What the operating system says of this machine and of the container that this process runs in.
struct MachineFacts {
  std::string cpu = {};               ///< the CPU's model name; empty where the system has none
  std::uint64_t memory_bytes = 0;     ///< all memory of the machine; 0: not known
  std::uint64_t available_bytes = 0;  ///< memory that programs could have now without swapping; 0: not known
  std::optional<std::uint64_t> memory_limit = {};  ///< bytes that the container's control group grants
  std::string huge_pages = {};                     ///< "always", "madvise", "never"; empty: not known

  /// Bytes a stage could have at most: what is available now, or the container's limit where that is less. What the
  /// container uses already is not taken off: most of it is page cache, which gives way.
  std::uint64_t usable_bytes() const;
};

/// Reads /proc/cpuinfo, /proc/meminfo, /sys/fs/cgroup/memory.max and the setting of transparent huge pages, all below
/// `root`. A file that is absent or makes no sense leaves its value unknown.
MachineFacts read_machine_facts(const std::filesystem::path& root = "/");

}  // namespace commissure
