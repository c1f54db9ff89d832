#include "doctor/machine.h"

#include <algorithm>
#include <fstream>
#include <string_view>

namespace commissure {

namespace {

/// The text behind `key` and a colon in a file of such lines, without the blanks around it; empty: no such line.
std::string value_of_key(const std::filesystem::path& file, std::string_view key) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1) != key) continue;
    const std::size_t first = line.find_first_not_of(" \t", colon + 1);
    return first == std::string::npos ? "" : line.substr(first, line.find_last_not_of(" \t") + 1 - first);
  }
  return "";
}

/// A line of /proc/meminfo, "MemTotal:  24 kB", in bytes; 0: not there.
std::uint64_t memory_line(const std::filesystem::path& file, std::string_view key) {
  const std::string value = value_of_key(file, key);
  if (value.empty() || value.find_first_not_of("0123456789") == 0 || value.size() > 18) return 0;
  return std::stoull(value) * 1024;
}

/// The word in brackets of "always [madvise] never".
std::string chosen_word(const std::filesystem::path& file) {
  std::string line;
  std::ifstream stream(file);
  std::getline(stream, line);
  const std::size_t open = line.find('['), close = line.find(']');
  return open < close && close != std::string::npos ? line.substr(open + 1, close - open - 1) : "";
}

}  // namespace

std::uint64_t MachineFacts::usable_bytes() const {
  const std::uint64_t free = available_bytes > 0 ? available_bytes : memory_bytes;
  return memory_limit ? std::min(free, *memory_limit) : free;
}

MachineFacts read_machine_facts(const std::filesystem::path& root) {
  MachineFacts machine;
  machine.cpu = value_of_key(root / "proc/cpuinfo", "model name");
  machine.memory_bytes = memory_line(root / "proc/meminfo", "MemTotal");
  machine.available_bytes = memory_line(root / "proc/meminfo", "MemAvailable");
  machine.huge_pages = chosen_word(root / "sys/kernel/mm/transparent_hugepage/enabled");
  std::ifstream limit(root / "sys/fs/cgroup/memory.max");  // "max" where there is no limit
  std::uint64_t n_bytes = 0;
  if (limit >> n_bytes) machine.memory_limit = n_bytes;
  return machine;
}

}  // namespace commissure
