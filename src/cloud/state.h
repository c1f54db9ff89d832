#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/json.h"
#include "deployment/cloud_spec.h"
#include "terminal/gcloud.h"

namespace commissure {

/// One object in the bucket.
struct CloudObject {
  std::string name;
  std::uint64_t n_bytes = 0;
  std::string crc32c;
  std::map<std::string, std::string> metadata;
};

/// What is there, as the cloud tells it; nothing of it is kept in a file. Absent things are empty.
struct CloudState {
  std::string project_number;
  std::set<std::string> apis;
  std::optional<Json> repository;
  std::set<std::string> tags;  ///< of the image in the repository
  std::optional<Json> bucket;
  std::map<std::string, Json> bucket_policies;
  std::string weights_location;                ///< of the weights' bucket, where that is another one; "" if not known
  std::map<std::string, CloudObject> objects;  ///< below the weights' prefix
  bool bucket_holds_objects = false;           ///< asked only of a bucket without labels
  std::set<std::string> own_buckets;           ///< that the deployment's label names
  std::map<std::string, bool> secrets;         ///< whether it has a version
  std::map<std::string, std::string> secret_owners;  ///< the deployment that the label of each secret names
  std::map<std::string, Json> secret_policies;
  std::map<std::string, std::string> accounts;  ///< display names by e-mail address
  Json repository_policy;
  std::map<std::string, Json> services;  ///< in the region, with the deployment's label or one of its names
  std::vector<std::pair<std::string, std::string>> services_elsewhere;  ///< with its label: name and region
  std::map<std::string, Json> service_policies;
  std::optional<Json> warm_job;
  std::map<std::string, Json> quotas;  ///< by the quota's name, as Google tells them

  /// The address that callers of a stage's service use: the one that follows from its name where the platform lists
  /// that, else the one it tells; "" while it has none.
  std::string url(const std::string& service) const;
  /// `https://SERVICE-PROJECT_NUMBER.REGION.run.app`, which Google promises before the service is there; "" while the
  /// project's number is not known.
  std::string promised_url(const std::string& service, const std::string& region) const;
};

/// One question and how its answer enters the state.
struct CloudRead {
  ProgramCall call;
  /// Errors: the answer is not what gcloud prints.
  Status (*absorb)(const std::string& key, const std::string& output, CloudState& state);
  std::string key = {};          ///< the secret or service that is asked for
  std::string api = {};          ///< asked only while this API is enabled
  bool may_be_absent = true;     ///< NOT_FOUND is an answer
  bool may_fail = false;         ///< what it tells is not needed
  bool may_be_disabled = false;  ///< that its API is not enabled is an answer
};

/// The project and its enabled APIs: what must be known before anything else can be asked.
std::vector<CloudRead> first_reads(const CloudSpec& spec);
/// All that carries the deployment's mark or one of its names, independent of each other.
std::vector<CloudRead> mark_reads(const CloudSpec& spec);
/// What else `up` has to know, independent of each other.
std::vector<CloudRead> second_reads(const CloudSpec& spec);
/// Who may use each service that is there, and what a bucket without labels holds; needs the answers of `mark_reads`.
std::vector<CloudRead> policy_reads(const CloudSpec& spec, const CloudState& state);

CloudRead services_read(const CloudSpec& spec);
CloudRead read_service(const CloudSpec& spec, const std::string& service);
CloudRead read_objects(const CloudSpec& spec);
CloudRead read_tags(const CloudSpec& spec);

}  // namespace commissure
