#include "terminal/file_checks.h"

#include "core/sha256.h"
#include "terminal/progress.h"

namespace commissure {

namespace fs = std::filesystem;

Status check_free_space(const fs::path& folder, std::uint64_t needed) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem) return Error(Code::kPermissionDenied, "cannot create ", folder.string(), ": ", problem.message());
  const fs::space_info space = fs::space(folder, problem);
  if (problem) return {};  // unknown: the write itself will tell
  if (space.available >= needed) return {};
  return Error(Code::kResourceExhausted, "not enough space in ", folder.string(), ": ", human_bytes(needed),
               " needed, ", human_bytes(space.available), " free; make room or set COMMISSURE_CACHE to another disk");
}

Status check_file(const fs::path& file, std::uint64_t n_bytes, const std::string& sha256) {
  std::error_code problem;
  const auto size = fs::file_size(file, problem);
  if (problem) return Error(Code::kNotFound, "cannot read ", file.string(), ": ", problem.message());
  if (size != n_bytes) {
    return Error(Code::kDataLoss, file.filename().string(), " has ", size, " bytes, expected ", n_bytes,
                 "; pull it again");
  }
  if (sha256.empty()) return {};
  const std::string found = TRY(sha256_of_file(file.string()));
  if (found == sha256) return {};
  return Error(Code::kDataLoss, file.filename().string(), " has SHA-256 ", found, ", expected ", sha256,
               "; pull it again");
}

Status rename_file(const fs::path& from, const fs::path& to) {
  std::error_code problem;
  fs::rename(from, to, problem);
  if (problem)
    return Error(Code::kInternal, "cannot rename ", from.string(), " to ", to.string(), ": ", problem.message());
  return {};
}

}  // namespace commissure
