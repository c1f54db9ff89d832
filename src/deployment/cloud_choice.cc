#include "deployment/cloud_choice.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/environment.h"

namespace commissure {

bool has_deployment_file(const CloudChoice& choice) { return std::filesystem::exists(choice.file); }

Result<CloudFile> read_cloud_file(const CloudChoice& choice) {
  std::ifstream file(choice.file);
  if (!file) return Error(Code::kNotFound, "cannot read ", choice.file);
  std::stringstream text;
  text << file.rdbuf();
  auto parsed = parse_cloud_file(text.str(), choice.deployment, process_environment);
  if (!parsed) return parsed.error().within(choice.file);
  return parsed;
}

}  // namespace commissure
