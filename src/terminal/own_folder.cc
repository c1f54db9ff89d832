#include "terminal/own_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace commissure {

namespace fs = std::filesystem;

Status check_own_folder(const fs::path& folder) {
  struct stat found{};
  if (lstat(folder.c_str(), &found) != 0) {
    if (errno == ENOENT) return {};
    return Error(Code::kPermissionDenied, "cannot look at ", folder.string(), ": ", std::strerror(errno));
  }
  const auto refuse = [&](const std::string& why) {
    return Error(Code::kPermissionDenied, folder.string(), " ", why,
                 ", so what lies there cannot be trusted; remove it, or name another folder (COMMISSURE_RUN_DIR for "
                 "what runs, COMMISSURE_CACHE for models)");
  };
  if (!S_ISDIR(found.st_mode)) return refuse("is no folder");
  if (found.st_uid != geteuid()) return refuse("belongs to another user (" + std::to_string(found.st_uid) + ")");
  if ((found.st_mode & (S_IWGRP | S_IWOTH)) != 0) return refuse("may be written by others");
  return {};
}

Status make_own_folder(const fs::path& folder) {
  std::error_code problem;
  if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), problem);
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return Error(Code::kPermissionDenied, "cannot create ", folder.string(), ": ", std::strerror(errno));
  return check_own_folder(folder);
}

}  // namespace commissure
