// What a stage's service is, one row for each value that the platform keeps; its program's environment and arguments
// are in service.cc. A key of a stage in commissure.yaml becomes such a row.
#include "cloud/service_fields.h"

#include <fmt/format.h>

#include "core/ascii.h"

namespace commissure {

namespace {

using Wanted = std::optional<std::string>;
using Flags = std::vector<std::string>;

constexpr int kTimeoutSeconds = 3600;  // the platform's longest request: a chain's stream is one
// A stage answers once it has read the headers of all its weight files: one that may not read them ends, and traffic
// stays where it was. Loading is not part of the start-up, which the platform bounds: it may take longer, and the stage
// tells its progress.
constexpr const char* kHttpStartup =
    "httpGet.path=/live,httpGet.port=8080,timeoutSeconds=2,periodSeconds=2,failureThreshold=120";
constexpr const char* kGrpcStartup =
    "grpc.service=live,grpc.port=8080,timeoutSeconds=2,periodSeconds=2,failureThreshold=120";
constexpr const char* kHttpLiveness =
    "httpGet.path=/live,httpGet.port=8080,timeoutSeconds=5,periodSeconds=30,failureThreshold=4";
constexpr const char* kGrpcLiveness =
    "grpc.service=live,grpc.port=8080,timeoutSeconds=5,periodSeconds=30,failureThreshold=4";

/// In the form of the flag: "grpc.service=live,grpc.port=8080,timeoutSeconds=...".
std::string probe_fact(const Json* probe) {
  std::string fact;
  const auto add = [&](const char* name, std::vector<const char*> path) {
    const Json* value = value_at(probe, path);
    if (value == nullptr) return;
    if (!fact.empty()) fact += ',';
    fact += fmt::format("{}={}", name, plain_text(value));
  };
  add("httpGet.path", {"httpGet", "path"});
  add("httpGet.port", {"httpGet", "port"});
  add("grpc.service", {"grpc", "service"});
  add("grpc.port", {"grpc", "port"});
  add("tcpSocket.port", {"tcpSocket", "port"});
  for (const char* name : {"timeoutSeconds", "periodSeconds", "failureThreshold"}) add(name, {name});
  return fact;
}

/// Of the annotation's JSON text: the first interface's network.
std::string network_fact(const Json* annotation) {
  const auto interfaces = parse_json(plain_text(annotation));
  if (!interfaces || !interfaces->is_array() || interfaces->empty()) return "";
  return plain_text(find_member(interfaces->front(), "network"));
}

const ServiceField kFields[] = {
    {.fact = "image",
     .wanted = [](const CloudSpec& spec, const CloudStage&) -> Wanted { return spec.image; },
     .flag = "--image=",
     .path = {"spec", "template", "spec", "containers", "0", "image"}},
    {.fact = "account",
     .wanted = [](const CloudSpec& spec, const CloudStage& stage) -> Wanted { return spec.account(stage.letter); },
     .flag = "--service-account=",
     .path = {"spec", "template", "spec", "serviceAccountName"}},
    {.fact = "cpu",
     .wanted = [](const CloudSpec&, const CloudStage& stage) -> Wanted { return stage.cpu; },
     .flag = "--cpu=",
     .path = {"spec", "template", "spec", "containers", "0", "resources", "limits", "cpu"}},
    {.fact = "memory",
     .wanted = [](const CloudSpec&, const CloudStage& stage) -> Wanted { return stage.memory; },
     .flag = "--memory=",
     .path = {"spec", "template", "spec", "containers", "0", "resources", "limits", "memory"}},
    {.fact = "cpu while idle",
     .wanted = [](const CloudSpec&, const CloudStage&) -> Wanted { return "kept"; },
     .flags = [](const CloudSpec&, const CloudStage&) -> Flags {
       return {"--no-cpu-throttling", "--cpu-boost", "--execution-environment=gen2"};
     },
     .path = {"spec", "template", "metadata", "annotations", "run.googleapis.com/cpu-throttling"},
     .read = [](const Json* value) -> std::string {
       return lower(plain_text(value)) == "false" ? "kept" : "taken away";
     }},
    {.fact = "concurrency",
     .wanted = [](const CloudSpec&, const CloudStage& stage) -> Wanted { return std::to_string(stage.concurrency); },
     .flag = "--concurrency=",
     .path = {"spec", "template", "spec", "containerConcurrency"}},
    {.fact = "timeout",
     .wanted = [](const CloudSpec&, const CloudStage&) -> Wanted { return std::to_string(kTimeoutSeconds); },
     .flag = "--timeout=",
     .path = {"spec", "template", "spec", "timeoutSeconds"}},
    {.fact = "max instances",
     .wanted = [](const CloudSpec&, const CloudStage& stage) -> Wanted { return std::to_string(stage.max_instances); },
     .flag = "--max-instances=",
     .path = {"spec", "template", "metadata", "annotations", "autoscaling.knative.dev/maxScale"}},
    {.fact = "min instances",
     .wanted = [](const CloudSpec&, const CloudStage& stage) -> Wanted { return std::to_string(stage.min_instances); },
     .flag = "--min=",
     .path = {"metadata", "annotations", "run.googleapis.com/minScale"},
     .absent = "0"},
    {.fact = "protocol",
     .wanted = [](const CloudSpec& spec, const CloudStage& stage) -> Wanted {
       return is_first_stage(spec, stage) ? "http1" : "h2c";
     },
     .flags = [](const CloudSpec& spec, const CloudStage& stage) -> Flags {
       return {"--port=" + std::to_string(kServicePort),
               is_first_stage(spec, stage) ? "--no-use-http2" : "--use-http2"};
     },
     .path = {"spec", "template", "spec", "containers", "0", "ports", "0", "name"},
     .read = [](const Json* value) -> std::string { return plain_text(value) == "h2c" ? "h2c" : "http1"; }},
    {.fact = "ingress",
     .wanted = [](const CloudSpec& spec, const CloudStage& stage) -> Wanted {
       return spec.internal && !is_first_stage(spec, stage) ? "internal" : "all";
     },
     .flag = "--ingress=",
     .path = {"metadata", "annotations", "run.googleapis.com/ingress"},
     .absent = "all"},
    {.fact = "",  // a policy, compared in rollout.cc
     .flags = [](const CloudSpec& spec, const CloudStage& stage) -> Flags {
       const bool is_open = is_first_stage(spec, stage) && spec.access == CloudCallers::kPublic;
       return {is_open ? "--allow-unauthenticated" : "--no-allow-unauthenticated"};
     }},
    {.fact = "startup probe",
     .wanted = [](const CloudSpec& spec, const CloudStage& stage) -> Wanted {
       return is_first_stage(spec, stage) ? kHttpStartup : kGrpcStartup;
     },
     .flag = "--startup-probe=",
     .path = {"spec", "template", "spec", "containers", "0", "startupProbe"},
     .read = probe_fact},
    {.fact = "liveness probe",
     .wanted = [](const CloudSpec& spec, const CloudStage& stage) -> Wanted {
       return is_first_stage(spec, stage) ? kHttpLiveness : kGrpcLiveness;
     },
     .flag = "--liveness-probe=",
     .path = {"spec", "template", "spec", "containers", "0", "livenessProbe"},
     .read = probe_fact},
    {.fact = "gpu",
     .wanted = [](const CloudSpec&, const CloudStage& stage) -> Wanted {
       return stage.gpu.empty() ? "none" : stage.gpu;
     },
     .flags = [](const CloudSpec&, const CloudStage& stage) -> Flags {
       return stage.gpu.empty() ? Flags() : Flags{"--gpu=1", "--gpu-type=" + stage.gpu};
     },
     .path = {"spec", "template", "spec", "nodeSelector", "run.googleapis.com/accelerator"},
     .absent = "none"},
    {.fact = "gpu zonal redundancy",
     .wanted = [](const CloudSpec&, const CloudStage& stage) -> Wanted {
       return stage.gpu.empty() ? Wanted() : stage.zonal_redundancy ? "on" : "off";
     },
     .flags = [](const CloudSpec&, const CloudStage& stage) -> Flags {
       if (stage.gpu.empty()) return {};
       return {stage.zonal_redundancy ? "--gpu-zonal-redundancy" : "--no-gpu-zonal-redundancy"};
     },
     .path = {"spec", "template", "metadata", "annotations", "run.googleapis.com/gpu-zonal-redundancy-disabled"},
     .read = [](const Json* value) -> std::string { return lower(plain_text(value)) == "true" ? "off" : "on"; }},
    {.fact = "network",
     .wanted = [](const CloudSpec& spec, const CloudStage& stage) -> Wanted {
       return has_next_stage(spec, stage) ? spec.network : "";
     },
     .flags = [](const CloudSpec& spec, const CloudStage& stage) -> Flags {
       if (!has_next_stage(spec, stage) || spec.network.empty()) return {};
       return {"--network=" + spec.network, "--subnet=" + spec.subnet, "--vpc-egress=all-traffic"};
     },
     .path = {"spec", "template", "metadata", "annotations", "run.googleapis.com/network-interfaces"},
     .read = network_fact},
};

}  // namespace

std::span<const ServiceField> service_fields() { return kFields; }

std::string release_shape(const CloudStage& stage) {
  return fmt::format("{} {} {} {} {}\n", stage.cpu, stage.memory, stage.gpu, stage.concurrency, stage.max_instances);
}

bool is_first_stage(const CloudSpec& spec, const CloudStage& stage) { return &stage == &spec.stages.front(); }
bool has_next_stage(const CloudSpec& spec, const CloudStage& stage) { return &stage != &spec.stages.back(); }

const Json* value_at(const Json* value, std::span<const char* const> path) {
  for (const char* key : path) {
    if (value == nullptr) return nullptr;
    if (value->is_array()) {
      value = std::string_view(key) == "0" && !value->empty() ? &value->front() : nullptr;
    } else {
      value = find_member(*value, key);
    }
  }
  return value;
}

std::string plain_text(const Json* value) {
  if (value == nullptr) return "";
  return value->is_string() ? value->get<std::string>() : value->dump();
}

}  // namespace commissure
