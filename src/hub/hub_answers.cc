#include "hub/hub_answers.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "weights/header_reader.h"

namespace commissure {

namespace {

constexpr std::size_t kMostPathBytes = 1024;
constexpr std::size_t kMostNameBytes = 240;    // file systems take 255, and a download's own name ends in some more
constexpr std::size_t kMostCommitBytes = 128;  // twice a SHA-256 in hexadecimal

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

/// Whether all names between the path's slashes are as `is_good` wants them.
template <typename IsGood>
bool all_names(std::string_view path, IsGood is_good) {
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    if (!is_good(path.substr(begin, end - begin))) return false;
    begin = end + 1;
  }
  return true;
}

/// Whether it names a file below a folder and nothing else.
bool stays_below(std::string_view path) {
  if (path.find('\\') != std::string_view::npos || std::ranges::any_of(path, is_control)) return false;
  return all_names(path, [](std::string_view name) { return !name.empty() && name != "." && name != ".."; });
}

bool is_short(std::string_view path) {
  return path.size() <= kMostPathBytes &&
         all_names(path, [](std::string_view name) { return name.size() <= kMostNameBytes; });
}

}  // namespace

bool is_safe_path(std::string_view path) { return stays_below(path) && is_short(path); }

Result<std::vector<HubFile>> read_file_list(std::string_view repo, const Json& tree) {
  if (!tree.is_array()) return Error(Code::kDataLoss, repo, ": the hub's file list is no list");
  std::vector<HubFile> files;
  for (const Json& entry : tree) {
    const Json* path = find_member(entry, "path");
    const Json* type = find_member(entry, "type");
    const Json* size = find_member(entry, "size");
    if (path == nullptr || !path->is_string() || type == nullptr || *type != "file") continue;
    HubFile file{path->get<std::string>(), 0, ""};
    if (!stays_below(file.path)) {
      return Error(Code::kDataLoss, repo, ": refused the file name ", printable(file.path), " of ", file.path.size(),
                   " bytes");
    }
    if (!is_short(file.path)) continue;  // no folder of this machine could hold it
    if (size != nullptr && size->is_number_unsigned()) file.n_bytes = size->get<std::uint64_t>();
    if (const Json* lfs = find_member(entry, "lfs")) {
      if (const Json* oid = find_member(*lfs, "oid"); oid != nullptr && oid->is_string())
        file.sha256 = oid->get<std::string>();
    }
    files.push_back(std::move(file));
  }
  return files;
}

Result<std::string> read_commit(std::string_view repo, const Json& info) {
  const Json* commit = find_member(info, "sha");
  if (commit == nullptr || !commit->is_string()) return Error(Code::kDataLoss, repo, ": the hub names no commit");
  std::string name = commit->get<std::string>();
  const auto is_plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; };
  if (name.empty() || name.size() > kMostCommitBytes || !std::ranges::all_of(name, is_plain)) {
    return Error(Code::kDataLoss, repo, ": the commit that the hub names is none");
  }
  return name;
}

}  // namespace commissure
