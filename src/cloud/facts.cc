// What a service is, read from what the platform tells of it.
#include <fmt/format.h>

#include <algorithm>

#include "cloud/marks.h"
#include "cloud/service.h"
#include "cloud/service_fields.h"

namespace commissure {

namespace {

const Json* at(const Json* value, std::initializer_list<const char*> keys) {
  return value_at(value, {keys.begin(), keys.size()});
}

std::string read_field(const ServiceField& field, const Json& service) {
  const Json* value = value_at(&service, field.path);
  if (field.read != nullptr) return field.read(value);
  const std::string text = plain_text(value);
  return text.empty() ? field.absent : text;
}

void add_environment(const Json& container, ServiceFacts& facts) {
  const Json* variables = find_member(container, "env");
  if (variables == nullptr || !variables->is_array()) return;
  for (const Json& variable : *variables) {
    const std::string name = fmt::format("env {}", plain_text(find_member(variable, "name")));
    const Json* secret = at(&variable, {"valueFrom", "secretKeyRef"});
    facts[name] = secret == nullptr
                      ? plain_text(find_member(variable, "value"))
                      : fmt::format("secret {}:{}", plain_text(at(secret, {"name"})), plain_text(at(secret, {"key"})));
  }
}

void add_container(const Json& container, ServiceFacts& facts) {
  std::string arguments;
  if (const Json* list = find_member(container, "args"); list != nullptr && list->is_array()) {
    for (const Json& word : *list) arguments += (arguments.empty() ? "" : " ") + plain_text(&word);
  }
  facts["arguments"] = arguments;
  add_environment(container, facts);
}

void add_volumes(const Json* volumes, ServiceFacts& facts) {
  if (volumes == nullptr || !volumes->is_array()) return;
  for (const Json& volume : *volumes) {
    if (const Json* bucket = at(&volume, {"csi", "volumeAttributes", "bucketName"}))
      facts["bucket volume"] = plain_text(bucket);
  }
}

/// Pinned after a rollback, or not ready after a failed deployment.
void add_status(const Json& service, ServiceFacts& facts) {
  const Json* traffic = at(&service, {"spec", "traffic"});
  const Json* target = traffic != nullptr && traffic->is_array() && traffic->size() == 1 ? &traffic->front() : nullptr;
  const bool latest = traffic == nullptr || (target != nullptr && plain_text(at(target, {"latestRevision"})) == "true");
  facts["traffic"] = latest ? "latest" : target == nullptr ? "split" : plain_text(at(target, {"revisionName"}));
  const Json* conditions = at(&service, {"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return;
  for (const Json& condition : *conditions) {
    const bool is_ready = plain_text(find_member(condition, "type")) != "Ready" ||
                          plain_text(find_member(condition, "status")) != "False";
    if (!is_ready) facts["problem"] = plain_text(find_member(condition, "message"));
  }
}

}  // namespace

ServiceFacts observed_facts(const Json& service) {
  ServiceFacts facts = {{"gpu", "none"}, {"network", ""}, {"bucket volume", ""}};
  const Json* spec = at(&service, {"spec", "template", "spec"});
  if (spec == nullptr) return facts;
  for (const ServiceField& field : service_fields()) {
    if (*field.fact != '\0') facts[field.fact] = read_field(field, service);
  }
  if (const Json* container = at(spec, {"containers", "0"})) add_container(*container, facts);
  add_volumes(at(spec, {"volumes"}), facts);
  facts[kDeploymentLabel] = owner_of_service(service);
  facts["release"] = plain_text(at(&service, {"spec", "template", "metadata", "labels", "commissure-release"}));
  add_status(service, facts);
  return facts;
}

}  // namespace commissure
