#include "cloud/state.h"

#include <charconv>

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

Status absorb_project(const std::string&, const std::string& output, CloudState& state) {
  state.project_number = text_of(TRY(parse_json(output)), "projectNumber");
  return {};
}

std::set<std::string> lines_of(const std::string& output) {
  std::set<std::string> lines;
  std::size_t start = 0;
  while (start < output.size()) {
    const std::size_t end = std::min(output.find('\n', start), output.size());
    if (end > start) lines.insert(output.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

Status absorb_apis(const std::string&, const std::string& output, CloudState& state) {
  state.apis = lines_of(output);
  return {};
}

Status absorb_accounts(const std::string&, const std::string& output, CloudState& state) {
  state.accounts = lines_of(output);
  return {};
}

Status absorb_repository(const std::string&, const std::string& output, CloudState& state) {
  state.repository = TRY(parse_json(output));
  return {};
}

Status absorb_repository_policy(const std::string&, const std::string& output, CloudState& state) {
  state.repository_policy = TRY(parse_json(output));
  return {};
}

Status absorb_tags(const std::string&, const std::string& output, CloudState& state) {
  for (const Json& tag : TRY(parse_json(output))) {
    const std::string name = text_of(tag, "tag").empty() ? text_of(tag, "name") : text_of(tag, "tag");
    state.tags.insert(name.substr(name.rfind('/') + 1));
  }
  return {};
}

Status absorb_bucket(const std::string&, const std::string& output, CloudState& state) {
  state.bucket = TRY(parse_json(output));
  return {};
}

Status absorb_weights_location(const std::string&, const std::string& output, CloudState& state) {
  state.weights_location = text_of(TRY(parse_json(output)), "location");
  return {};
}

Status absorb_bucket_policy(const std::string& key, const std::string& output, CloudState& state) {
  state.bucket_policies[key] = TRY(parse_json(output));
  return {};
}

Status absorb_objects(const std::string&, const std::string& output, CloudState& state) {
  state.objects.clear();
  for (const Json& item : TRY(parse_json(output))) {
    CloudObject object{text_of(item, "name"), 0, text_of(item, "crc32c"), {}};
    const std::string size = text_of(item, "size");
    std::from_chars(size.data(), size.data() + size.size(), object.n_bytes);
    if (const Json* metadata = find_member(item, "metadata"); metadata != nullptr && metadata->is_object()) {
      for (const auto& [key, value] : metadata->items()) {
        if (value.is_string()) object.metadata[key] = value.get<std::string>();
      }
    }
    state.objects[object.name] = std::move(object);
  }
  return {};
}

Status absorb_secret(const std::string& key, const std::string& output, CloudState& state) {
  state.secrets[key] = !TRY(parse_json(output)).empty();
  return {};
}

Status absorb_secret_policy(const std::string& key, const std::string& output, CloudState& state) {
  state.secret_policies[key] = TRY(parse_json(output));
  return {};
}

Status absorb_services(const std::string& prefix, const std::string& output, CloudState& state) {
  for (Json& service : TRY(parse_json(output))) {
    const Json* metadata = find_member(service, "metadata");
    const std::string name = metadata == nullptr ? "" : text_of(*metadata, "name");
    if (name.size() == prefix.size() + 1 && name.starts_with(prefix)) state.services[name] = std::move(service);
  }
  return {};
}

Status absorb_service(const std::string& key, const std::string& output, CloudState& state) {
  state.services[key] = TRY(parse_json(output));
  return {};
}

Status absorb_service_policy(const std::string& key, const std::string& output, CloudState& state) {
  state.service_policies[key] = TRY(parse_json(output));
  return {};
}

Status absorb_warm_job(const std::string&, const std::string& output, CloudState& state) {
  state.warm_job = TRY(parse_json(output));
  return {};
}

ProgramCall in_project(const CloudSpec& spec, std::vector<std::string> arguments, const char* format = "json") {
  arguments.push_back("--project=" + spec.project);
  arguments.push_back(std::string("--format=") + format);
  return gcloud(std::move(arguments));
}

CloudRead read_secret(const CloudSpec& spec, const std::string& secret) {
  return {in_project(spec, {"secrets", "versions", "list", secret, "--filter=state=ENABLED"}), absorb_secret, secret,
          "secretmanager.googleapis.com"};
}

CloudRead read_secret_policy(const CloudSpec& spec, const std::string& secret) {
  return {in_project(spec, {"secrets", "get-iam-policy", secret}), absorb_secret_policy, secret,
          "secretmanager.googleapis.com"};
}

CloudRead read_bucket_policy(const CloudSpec& spec, const std::string& bucket) {
  return {in_project(spec, {"storage", "buckets", "get-iam-policy", "gs://" + bucket}), absorb_bucket_policy, bucket,
          "storage.googleapis.com"};
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

std::vector<CloudRead> first_reads(const CloudSpec& spec) {
  return {
      {.call = gcloud({"projects", "describe", spec.project, "--format=json"}),
       .absorb = absorb_project,
       .may_be_absent = false},
      {.call = in_project(spec, {"services", "list", "--enabled"}, "value(config.name)"),
       .absorb = absorb_apis,
       .may_be_absent = false},
  };
}

CloudRead read_tags(const CloudSpec& spec) {
  return {in_project(spec, {"artifacts", "tags", "list", "--package=commissure", "--repository=" + spec.name,
                            "--location=" + spec.region}),
          absorb_tags, "", "artifactregistry.googleapis.com"};
}

CloudRead read_objects(const CloudSpec& spec) {
  return {in_project(spec, {"storage", "objects", "list", spec.weights_folder() + "/**", "--raw"}), absorb_objects, "",
          "storage.googleapis.com"};
}

CloudRead services_read(const CloudSpec& spec) {
  return {in_project(spec, {"run", "services", "list", "--region=" + spec.region}), absorb_services, spec.name + "-",
          "run.googleapis.com"};
}

CloudRead read_service(const CloudSpec& spec, const std::string& service) {
  return {in_project(spec, {"run", "services", "describe", service, "--region=" + spec.region}), absorb_service,
          service, "run.googleapis.com"};
}

std::vector<CloudRead> second_reads(const CloudSpec& spec) {
  std::vector<CloudRead> reads = {
      {in_project(spec, {"iam", "service-accounts", "list"}, "value(email)"), absorb_accounts, "",
       "iam.googleapis.com"},
      {in_project(spec, {"storage", "buckets", "describe", "gs://" + spec.bucket, "--raw"}), absorb_bucket, "",
       "storage.googleapis.com"},
      read_bucket_policy(spec, spec.bucket),
      read_objects(spec),
      services_read(spec),
      {in_project(spec, {"scheduler", "jobs", "describe", spec.warm_job(), "--location=" + spec.region}),
       absorb_warm_job, "", "cloudscheduler.googleapis.com"},
  };
  if (spec.own_image) {
    const std::string where = "--location=" + spec.region;
    reads.push_back({in_project(spec, {"artifacts", "repositories", "describe", spec.name, where}), absorb_repository,
                     "", "artifactregistry.googleapis.com"});
    reads.push_back({in_project(spec, {"artifacts", "repositories", "get-iam-policy", spec.name, where}),
                     absorb_repository_policy, "", "artifactregistry.googleapis.com"});
    reads.push_back(read_tags(spec));
  }
  if (spec.weights.bucket != spec.bucket) {
    reads.push_back(read_bucket_policy(spec, spec.weights.bucket));
    reads.push_back(
        {.call = in_project(spec, {"storage", "buckets", "describe", "gs://" + spec.weights.bucket, "--raw"}),
         .absorb = absorb_weights_location,
         .key = "where gs://" + spec.weights.bucket + " lies",
         .api = "storage.googleapis.com",
         .may_fail = true});
  }
  for (const auto& [wanted, secret] :
       {std::pair{spec.hub_token, spec.hub_secret()}, std::pair{spec.api_key, spec.key_secret()}}) {
    if (!wanted) continue;
    reads.push_back(read_secret(spec, secret));
    reads.push_back(read_secret_policy(spec, secret));
  }
  return reads;
}

std::vector<CloudRead> policy_reads(const CloudSpec& spec, const CloudState& state) {
  std::vector<CloudRead> reads;
  for (const auto& [service, body] : state.services) {
    reads.push_back({in_project(spec, {"run", "services", "get-iam-policy", service, "--region=" + spec.region}),
                     absorb_service_policy, service, "run.googleapis.com"});
  }
  return reads;
}

bool has_role(const Json& policy, const std::string& role, const std::string& member) {
  const Json* bindings = find_member(policy, "bindings");
  if (bindings == nullptr || !bindings->is_array()) return false;
  for (const Json& binding : *bindings) {
    if (text_of(binding, "role") != role) continue;
    const Json* members = find_member(binding, "members");
    if (members == nullptr || !members->is_array()) continue;
    for (const Json& entry : *members) {
      if (entry.is_string() && entry.get<std::string>() == member) return true;
    }
  }
  return false;
}

}  // namespace commissure
