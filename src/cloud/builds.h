#pragma once

#include "deployment/cloud_spec.h"
#include "terminal/gcloud.h"

namespace commissure {

/// The object that Cloud Build writes last, with the number of files and bytes as its metadata.
inline constexpr const char* kWeightsList = "commissure-weights.json";

/// `gcloud builds submit` of the source tree: deploy/cloudbuild.yaml builds deploy/Dockerfile and pushes it.
ProgramCall image_build_call(const CloudSpec& spec);

/// The same by `spec.image_builder` on this machine: build, log in with the person's own token, push, log out.
std::vector<ProgramCall> local_image_calls(const CloudSpec& spec);

/// `gcloud builds submit --no-source`: Cloud Build fetches the weights from the hub or a URL into the bucket, so that
/// they never pass through this machine. A gated model's token comes from the deployment's secret.
ProgramCall weights_build_call(const CloudSpec& spec);

}  // namespace commissure
