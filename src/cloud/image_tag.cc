#include "cloud/image_tag.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

#include "core/sha256.h"
#include "terminal/paths.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

/// What the image is made of.
constexpr std::array kImageInputs = {"CMakeLists.txt",
                                     "CMakePresets.json",
                                     "cmake",
                                     "src",
                                     "deploy/Dockerfile",
                                     "deploy/catalogue.yaml",
                                     "deploy/collect_image.sh",
                                     "tools/packages.txt",
                                     "tools/install_packages.sh"};

Status hash_file(const fs::path& root, const fs::path& path, Sha256& hash) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot read ", path.string());
  hash.update(fs::relative(path, root).string() + "\n");
  std::vector<char> piece(1 << 16);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0) {
    hash.update(std::string_view(piece.data(), static_cast<std::size_t>(file.gcount())));
  }
  return {};
}

bool is_source_tree(const fs::path& root) {
  return fs::exists(root / "deploy/Dockerfile") && fs::exists(root / "src/LAYERS");
}

}  // namespace

Result<std::string> source_digest(const fs::path& root) {
  std::vector<fs::path> files;
  std::error_code problem;
  for (const char* input : kImageInputs) {
    const fs::path path = root / input;
    if (fs::is_regular_file(path)) files.push_back(path);
    if (!fs::is_directory(path)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(path, problem)) {
      const bool compiled = entry.path().string().find("/target/") != std::string::npos;
      if (entry.is_regular_file(problem) && !compiled) files.push_back(entry.path());
    }
  }
  if (problem) return Error(Code::kNotFound, "cannot list ", root.string(), ": ", problem.message());
  std::ranges::sort(files);
  Sha256 hash;
  for (const fs::path& file : files) TRY(hash_file(root, file, hash));
  return hash.finish().substr(0, 10);
}

std::string weights_digest(const CloudWeights& weights) {
  Sha256 hash;
  hash.update(weights.repository + "\n" + weights.revision + "\n" + weights.bucket + "/" + weights.prefix + "\n");
  for (const WeightFile& file : weights.files) hash.update(file.name + " " + file.crc32c + "\n");
  return hash.finish().substr(0, 10);
}

Result<fs::path> find_source_tree() {
  for (fs::path folder = own_executable().parent_path(); folder.has_relative_path(); folder = folder.parent_path()) {
    if (is_source_tree(folder)) return folder;
  }
  const fs::path here = fs::current_path();
  if (is_source_tree(here)) return here;
  return Error(Code::kNotFound,
               "the source tree, from which the image is built, is not here: run in it, name it with --source, or set "
               "`image` in commissure.yaml to one that is built");
}

}  // namespace commissure
