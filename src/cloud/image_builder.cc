#include "cloud/image_builder.h"

#include <chrono>

namespace commissure {

namespace {

constexpr std::chrono::seconds kVersionLimit{30};

std::string last_line(const std::string& text) {
  const auto end = text.find_last_not_of(" \r\n");
  if (end == std::string::npos) return "no word";
  const auto start = text.rfind('\n', end);
  return text.substr(start == std::string::npos ? 0 : start + 1,
                     end - (start == std::string::npos ? 0 : start + 1) + 1);
}

}  // namespace

Result<std::string> find_image_builder(const ProgramRunner& run) {
  std::string silent;
  for (const char* tool : {"docker", "podman", "buildah"}) {
    ProgramCall version = {.arguments = {tool, "version"}};
    version.limit = kVersionLimit;
    const auto answer = run(version);
    if (answer && answer->good()) return tool;
    if (!answer && answer.error().code() == Code::kCancelled) return answer.error();
    if (!answer && answer.error().code() == Code::kNotFound) continue;
    if (silent.empty())
      silent = std::string(tool) + " (" + (answer ? last_line(answer->errors) : answer.error().message()) + ")";
  }
  if (silent.empty()) {
    return Error(Code::kNotFound,
                 "docker, podman and buildah are absent, one of which builds the image: install one "
                 "(https://docs.docker.com/engine/install), or let Cloud Build do it: without this flag");
  }
  return Error(Code::kUnavailable, silent,
               " is installed and does not answer: start its service, install podman or buildah, or let Cloud Build do "
               "it: without this flag");
}

}  // namespace commissure
