#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "cloud/service.h"
#include "core/ascii.h"

namespace commissure {

namespace {

/// The value at a path of keys; null when any is missing.
const Json* at(const Json* value, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (value == nullptr) return nullptr;
    value = find_member(*value, key);
  }
  return value;
}

std::string text(const Json* value) {
  if (value == nullptr) return "";
  return value->is_string() ? value->get<std::string>() : value->dump();
}

/// In the form of the flag: "grpc.service=live,grpc.port=8080,timeoutSeconds=...".
std::string probe_fact(const Json* probe) {
  if (probe == nullptr) return "";
  std::string fact;
  const auto add = [&](const char* name, const Json* value) {
    if (value != nullptr) fact += (fact.empty() ? "" : ",") + std::string(name) + "=" + text(value);
  };
  add("httpGet.path", at(probe, {"httpGet", "path"}));
  add("httpGet.port", at(probe, {"httpGet", "port"}));
  add("grpc.service", at(probe, {"grpc", "service"}));
  add("grpc.port", at(probe, {"grpc", "port"}));
  add("tcpSocket.port", at(probe, {"tcpSocket", "port"}));
  for (const char* name : {"timeoutSeconds", "periodSeconds", "failureThreshold"}) add(name, at(probe, {name}));
  return fact;
}

void add_environment(const Json& container, ServiceFacts& facts) {
  const Json* variables = find_member(container, "env");
  if (variables == nullptr || !variables->is_array()) return;
  for (const Json& variable : *variables) {
    const std::string name = fmt::format("env {}", text(find_member(variable, "name")));
    const Json* secret = at(&variable, {"valueFrom", "secretKeyRef"});
    facts[name] = secret == nullptr
                      ? text(find_member(variable, "value"))
                      : fmt::format("secret {}:{}", text(at(secret, {"name"})), text(at(secret, {"key"})));
  }
}

void add_container(const Json& container, ServiceFacts& facts) {
  facts["image"] = text(find_member(container, "image"));
  facts["cpu"] = text(at(&container, {"resources", "limits", "cpu"}));
  facts["memory"] = text(at(&container, {"resources", "limits", "memory"}));
  const Json* ports = find_member(container, "ports");
  const bool h2c =
      ports != nullptr && ports->is_array() && !ports->empty() && text(find_member(ports->front(), "name")) == "h2c";
  facts["protocol"] = h2c ? "h2c" : "http1";
  std::string arguments;
  if (const Json* list = find_member(container, "args"); list != nullptr && list->is_array()) {
    for (const Json& word : *list) arguments += (arguments.empty() ? "" : " ") + text(&word);
  }
  facts["arguments"] = arguments;
  facts["startup probe"] = probe_fact(find_member(container, "startupProbe"));
  facts["liveness probe"] = probe_fact(find_member(container, "livenessProbe"));
  add_environment(container, facts);
}

void add_annotations(const Json& service, ServiceFacts& facts) {
  const Json* on_service = at(&service, {"metadata", "annotations"});
  const Json* on_template = at(&service, {"spec", "template", "metadata", "annotations"});
  const auto or_else = [](std::string value, const char* otherwise) { return value.empty() ? otherwise : value; };
  facts["min instances"] = or_else(text(at(on_service, {"run.googleapis.com/minScale"})), "0");
  facts["ingress"] = or_else(text(at(on_service, {"run.googleapis.com/ingress"})), "all");
  facts["max instances"] = text(at(on_template, {"autoscaling.knative.dev/maxScale"}));
  facts["cpu while idle"] =
      lower(text(at(on_template, {"run.googleapis.com/cpu-throttling"}))) == "false" ? "kept" : "taken away";
  if (facts["gpu"] != "none") {
    const bool off = lower(text(at(on_template, {"run.googleapis.com/gpu-zonal-redundancy-disabled"}))) == "true";
    facts["gpu zonal redundancy"] = off ? "off" : "on";
  }
  const auto interfaces = parse_json(text(at(on_template, {"run.googleapis.com/network-interfaces"})));
  if (interfaces && interfaces->is_array() && !interfaces->empty()) {
    facts["network"] = text(find_member(interfaces->front(), "network"));
  }
}

/// Pinned after a rollback, or not ready after a failed deployment.
void add_status(const Json& service, ServiceFacts& facts) {
  const Json* traffic = at(&service, {"spec", "traffic"});
  const Json* target = traffic != nullptr && traffic->is_array() && traffic->size() == 1 ? &traffic->front() : nullptr;
  const bool latest = traffic == nullptr || (target != nullptr && text(at(target, {"latestRevision"})) == "true");
  facts["traffic"] = latest ? "latest" : target == nullptr ? "split" : text(at(target, {"revisionName"}));
  const Json* conditions = at(&service, {"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return;
  for (const Json& condition : *conditions) {
    if (text(find_member(condition, "type")) != "Ready" || text(find_member(condition, "status")) != "False") continue;
    facts["problem"] = text(find_member(condition, "message"));
  }
}

}  // namespace

ServiceFacts observed_facts(const Json& service) {
  ServiceFacts facts = {{"gpu", "none"}, {"network", ""}, {"bucket volume", ""}};
  const Json* spec = at(&service, {"spec", "template", "spec"});
  if (spec == nullptr) return facts;
  facts["account"] = text(at(spec, {"serviceAccountName"}));
  facts["concurrency"] = text(at(spec, {"containerConcurrency"}));
  facts["timeout"] = text(at(spec, {"timeoutSeconds"}));
  if (const Json* gpu = at(spec, {"nodeSelector", "run.googleapis.com/accelerator"})) facts["gpu"] = text(gpu);
  const Json* containers = at(spec, {"containers"});
  if (containers != nullptr && containers->is_array() && !containers->empty()) {
    add_container(containers->front(), facts);
  }
  if (const Json* volumes = at(spec, {"volumes"}); volumes != nullptr && volumes->is_array()) {
    for (const Json& volume : *volumes) {
      if (const Json* bucket = at(&volume, {"csi", "volumeAttributes", "bucketName"})) {
        facts["bucket volume"] = text(bucket);
      }
    }
  }
  facts["release"] = text(at(&service, {"spec", "template", "metadata", "labels", "commissure-release"}));
  add_annotations(service, facts);
  add_status(service, facts);
  return facts;
}

}  // namespace commissure
