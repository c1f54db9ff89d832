#include "cloud/marks.h"

#include "core/json_fields.h"

namespace commissure {

namespace {

std::string label_of(const Json* holder) {
  const Json* labels = holder == nullptr ? nullptr : find_member(*holder, "labels");
  return labels == nullptr ? "" : text_of(*labels, kDeploymentLabel);
}

}  // namespace

std::string deployment_mark(const CloudSpec& spec) { return std::string(kDeploymentLabel) + "=" + spec.name; }

std::string account_title(const CloudSpec& spec, const std::string& purpose) {
  return "Commissure " + spec.name + ": " + purpose;
}

std::string owner_of(const Json& resource) { return label_of(&resource); }

std::string owner_of_service(const Json& service) { return label_of(find_member(service, "metadata")); }

bool is_own_account(const CloudSpec& spec, const std::string& display_name) {
  return display_name.starts_with(account_title(spec, ""));
}

bool is_own_job(const CloudSpec& spec, const Json& job) { return text_of(job, "description") == deployment_mark(spec); }

bool names_own_bucket(const CloudSpec& spec) { return spec.bucket == spec.project + "-" + spec.name; }

}  // namespace commissure
