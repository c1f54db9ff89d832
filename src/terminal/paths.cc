#include "terminal/paths.h"

#include <unistd.h>

#include <cstdlib>
#include <string>

#include "terminal/own_folder.h"

namespace commissure {

namespace {

std::filesystem::path from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::filesystem::path(value) : std::filesystem::path();
}

std::filesystem::path cache_in_tmp() {
  return std::filesystem::path("/tmp") / ("commissure-cache-" + std::to_string(getuid()));
}

}  // namespace

Status check_cache_dir() { return cache_dir() == cache_in_tmp() ? check_own_folder(cache_in_tmp()) : Status(); }

Status make_cache_dir() { return cache_dir() == cache_in_tmp() ? make_own_folder(cache_in_tmp()) : Status(); }

std::filesystem::path cache_dir() {
  if (const auto dir = from_environment("COMMISSURE_CACHE"); !dir.empty()) return dir;
  if (const auto dir = from_environment("XDG_CACHE_HOME"); !dir.empty()) return dir / "commissure";
  if (const auto dir = from_environment("HOME"); !dir.empty()) return dir / ".cache" / "commissure";
  return cache_in_tmp();
}

std::filesystem::path run_dir() {
  if (const auto dir = from_environment("COMMISSURE_RUN_DIR"); !dir.empty()) return dir;
  if (const auto dir = from_environment("XDG_RUNTIME_DIR"); !dir.empty() && access(dir.c_str(), W_OK) == 0) {
    return dir / "commissure";
  }
  return std::filesystem::path("/tmp") / ("commissure-" + std::to_string(getuid()));
}

std::filesystem::path own_executable() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored);
}

}  // namespace commissure
