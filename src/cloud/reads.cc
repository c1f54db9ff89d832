// What is asked of the cloud, and how each answer enters the state.
#include <charconv>

#include "cloud/marks.h"
#include "cloud/state.h"
#include "core/json_fields.h"

namespace commissure {

namespace {

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
  for (const Json& account : TRY(parse_json(output)))
    state.accounts[text_of(account, "email")] = text_of(account, "displayName");
  return {};
}

std::string last_part(const std::string& path) { return path.substr(path.rfind('/') + 1); }

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
    state.tags.insert(last_part(name));
  }
  return {};
}

Status absorb_bucket(const std::string&, const std::string& output, CloudState& state) {
  state.bucket = TRY(parse_json(output));
  return {};
}

Status absorb_own_buckets(const std::string& deployment, const std::string& output, CloudState& state) {
  for (const Json& bucket : TRY(parse_json(output))) {
    if (owner_of(bucket) == deployment) state.own_buckets.insert(text_of(bucket, "name"));
  }
  return {};
}

Status absorb_bucket_content(const std::string&, const std::string& output, CloudState& state) {
  state.bucket_holds_objects = !TRY(parse_json(output)).empty();
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

Status absorb_secret_owners(const std::string& deployment, const std::string& output, CloudState& state) {
  for (const Json& secret : TRY(parse_json(output))) {
    const std::string name = last_part(text_of(secret, "name"));
    const bool is_named = name == deployment + "-api-key" || name == deployment + "-hub-token";
    if (const std::string owner = owner_of(secret); is_named || owner == deployment) state.secret_owners[name] = owner;
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

std::string label_of(const Json& service, const char* label) {
  const Json* metadata = find_member(service, "metadata");
  const Json* labels = metadata == nullptr ? nullptr : find_member(*metadata, "labels");
  return labels == nullptr ? "" : text_of(*labels, label);
}

std::string name_of(const Json& service) {
  const Json* metadata = find_member(service, "metadata");
  return metadata == nullptr ? "" : text_of(*metadata, "name");
}

/// Of the deployment's region. `key`: its name, a slash and the region. Names are NAME-a, NAME-b, ...
Status absorb_services(const std::string& key, const std::string& output, CloudState& state) {
  const std::string deployment = key.substr(0, key.find('/'));
  for (Json& service : TRY(parse_json(output))) {
    const std::string name = name_of(service);
    const bool is_named = name.size() == deployment.size() + 2 && name.starts_with(deployment + "-");
    if (is_named || owner_of_service(service) == deployment) state.services[name] = std::move(service);
  }
  return {};
}

/// Of all regions; `key` as above.
Status absorb_services_elsewhere(const std::string& key, const std::string& output, CloudState& state) {
  const std::string deployment = key.substr(0, key.find('/')), region = key.substr(key.find('/') + 1);
  for (const Json& service : TRY(parse_json(output))) {
    const std::string place = label_of(service, "cloud.googleapis.com/location");
    if (owner_of_service(service) == deployment && !place.empty() && place != region)
      state.services_elsewhere.emplace_back(name_of(service), place);
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

std::vector<CloudRead> first_reads(const CloudSpec& spec) {
  return {
      {.call = gcloud({"projects", "describe", spec.project, "--format=json"}),
       .absorb = absorb_project,
       .may_be_absent = false,
       .may_be_disabled = true},
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
  return {in_project(spec, {"run", "services", "list", "--region=" + spec.region}), absorb_services,
          spec.name + "/" + spec.region, "run.googleapis.com"};
}

CloudRead read_service(const CloudSpec& spec, const std::string& service) {
  return {in_project(spec, {"run", "services", "describe", service, "--region=" + spec.region}), absorb_service,
          service, "run.googleapis.com"};
}

std::vector<CloudRead> mark_reads(const CloudSpec& spec) {
  return {
      services_read(spec),
      {.call = in_project(spec, {"run", "services", "list"}),
       .absorb = absorb_services_elsewhere,
       .key = spec.name + "/" + spec.region,
       .api = "run.googleapis.com",
       .may_fail = true},
      {in_project(spec, {"iam", "service-accounts", "list"}, "json(email,displayName)"), absorb_accounts, "",
       "iam.googleapis.com"},
      {in_project(spec, {"secrets", "list"}), absorb_secret_owners, spec.name, "secretmanager.googleapis.com"},
      {in_project(spec, {"storage", "buckets", "list", "--raw"}), absorb_own_buckets, spec.name,
       "storage.googleapis.com"},
      {in_project(spec, {"storage", "buckets", "describe", "gs://" + spec.bucket, "--raw"}), absorb_bucket, "",
       "storage.googleapis.com"},
      {in_project(spec, {"scheduler", "jobs", "describe", spec.warm_job(), "--location=" + spec.region}),
       absorb_warm_job, "", "cloudscheduler.googleapis.com"},
      {in_project(spec, {"artifacts", "repositories", "describe", spec.name, "--location=" + spec.region}),
       absorb_repository, "", "artifactregistry.googleapis.com"},
  };
}

std::vector<CloudRead> second_reads(const CloudSpec& spec) {
  std::vector<CloudRead> reads = {read_bucket_policy(spec, spec.bucket), read_objects(spec)};
  if (spec.own_image) {
    reads.push_back(
        {in_project(spec, {"artifacts", "repositories", "get-iam-policy", spec.name, "--location=" + spec.region}),
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
  const Json* labels = state.bucket ? find_member(*state.bucket, "labels") : nullptr;
  if (state.bucket && names_own_bucket(spec) && (labels == nullptr || labels->empty()))
    reads.push_back({in_project(spec, {"storage", "objects", "list", "gs://" + spec.bucket + "/**", "--limit=1"}),
                     absorb_bucket_content, "", "storage.googleapis.com"});
  return reads;
}

}  // namespace commissure
