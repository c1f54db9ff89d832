#pragma once

#include <string>

#include "core/json.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// The label whose value is the name of the deployment that made a thing: on services, repository, bucket and secrets.
inline constexpr const char* kDeploymentLabel = "commissure-deployment";

/// "commissure-deployment=NAME": the label as a flag's value, and the description of a job, which has no labels.
std::string deployment_mark(const CloudSpec& spec);
/// "Commissure NAME: PURPOSE": the display name of an account. Accounts have no labels: its beginning is their mark.
std::string account_title(const CloudSpec& spec, const std::string& purpose);

/// The deployment that the label of a repository, bucket or secret names; "" for none.
std::string owner_of(const Json& resource);
/// The same of a service, whose labels are in its metadata.
std::string owner_of_service(const Json& service);

bool is_own_account(const CloudSpec& spec, const std::string& display_name);
bool is_own_job(const CloudSpec& spec, const Json& job);
/// Whether the bucket has the name that `up` gives, not one that the file says.
bool names_own_bucket(const CloudSpec& spec);

}  // namespace commissure
