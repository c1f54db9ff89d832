#include "cloud/state.h"

#include "core/json_fields.h"

namespace commissure {

namespace {

/// All addresses of a service, in the annotation that holds them as JSON text.
std::vector<std::string> listed_urls(const Json& service) {
  std::vector<std::string> urls;
  const Json* metadata = find_member(service, "metadata");
  const Json* annotations = metadata == nullptr ? nullptr : find_member(*metadata, "annotations");
  if (annotations == nullptr) return urls;
  const auto list = parse_json(text_of(*annotations, "run.googleapis.com/urls"));
  if (!list || !list->is_array()) return urls;
  for (const Json& url : *list) {
    if (url.is_string()) urls.push_back(url.get<std::string>());
  }
  return urls;
}

}  // namespace

std::string CloudState::url(const std::string& service) const {
  const auto found = services.find(service);
  if (found == services.end()) return "";
  const Json* status = find_member(found->second, "status");
  const std::string told = status == nullptr ? "" : text_of(*status, "url");
  for (const std::string& url : listed_urls(found->second)) {
    if (!project_number.empty() && url.starts_with("https://" + service + "-" + project_number + ".")) return url;
  }
  return told;
}

std::string CloudState::promised_url(const std::string& service, const std::string& region) const {
  if (project_number.empty()) return "";
  return "https://" + service + "-" + project_number + "." + region + ".run.app";
}

}  // namespace commissure
