#include "deployment/cloud_choice.h"

#include <filesystem>
#include <fstream>
#include <sstream>

namespace commissure {

bool has_deployment_file(const CloudChoice& choice) { return std::filesystem::exists(choice.file); }

Result<CloudFile> read_cloud_file(const CloudChoice& choice, const Environment& variables) {
  std::ifstream file(choice.file);
  if (!file) return Error(Code::kNotFound, "cannot read ", choice.file);
  std::stringstream text;
  text << file.rdbuf();
  auto parsed = parse_cloud_file(text.str(), choice.deployment, variables);
  if (!parsed) return parsed.error().within(choice.file);
  parsed->path = choice.file;
  return parsed;
}

}  // namespace commissure
