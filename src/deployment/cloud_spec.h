#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/result.h"

namespace commissure {

/// One stage as a Cloud Run service.
struct CloudStage {
  std::string letter;           ///< "a", "b", ...
  std::string cpu = "4";        ///< as gcloud takes it
  std::string memory = "16Gi";  ///< as gcloud takes it
  std::string gpu;              ///< "nvidia-l4", ...; "" for none
  std::string device = "auto";  ///< "cpu" or "cuda"; "auto": cuda beside a GPU, else cpu
  bool zonal_redundancy = false;
  int min_instances = 0;
  int max_instances = 1;
  int concurrency = 16;
  std::string quant = "none";  ///< how float weights are quantised while they are loaded
  std::vector<std::pair<std::string, std::string>> environment;  ///< beyond the stage contract

  /// "cpu" or "cuda".
  std::string computes_on() const { return device != "auto" ? device : gpu.empty() ? "cpu" : "cuda"; }

  bool operator==(const CloudStage&) const = default;
};

/// Where the weights come from before the bucket.
enum class WeightsSource {
  kFiles,   ///< files of this machine
  kHub,     ///< a repository of the Hugging Face hub, fetched on Cloud Build
  kUrl,     ///< one file behind https://, fetched on Cloud Build
  kBucket,  ///< gs://, used where it lies
};

/// One weight file of this machine.
struct WeightFile {
  std::string path;
  std::string name;  ///< in the bucket
  std::uint64_t n_bytes = 0;
  std::string crc32c;  ///< base64, big endian, as Cloud Storage says it

  bool operator==(const WeightFile&) const = default;
};

/// Where baked weights lie in the image.
inline constexpr const char* kBakedFolder = "/model";

struct CloudWeights {
  WeightsSource source = WeightsSource::kFiles;
  std::vector<WeightFile> files;     ///< kFiles
  std::string repository;            ///< kHub: "OWNER/REPO"; kUrl: the URL
  std::string revision = "main";     ///< kHub
  std::vector<std::string> include;  ///< kHub: patterns of the files to fetch; empty: config, tokenizer, safetensors
  std::string bucket;                ///< where stages read; the deployment's own unless kBucket
  std::string prefix;                ///< folder in that bucket, "models/NAME"
  std::uint64_t n_bytes = 0;         ///< of all of it; 0 where that is not known
  std::string file;                  ///< the one file in it that is the model; "" when the folder is (safetensors)
  bool mounted = false;              ///< read through a Cloud Storage volume instead of range requests
  bool baked = false;                ///< lies in the image, which is built with it

  bool operator==(const CloudWeights&) const = default;
};

/// Who may call stage A: anybody, or accounts that IAM lets in.
enum class CloudCallers { kPublic, kIam };

/// A deployment with its plan's numbers put in: everything that gcloud's calls are made from.
struct CloudSpec {
  std::string name = "commissure";  ///< prefix of every resource
  std::string project;
  std::string region;
  std::string image;          ///< REGION-docker.pkg.dev/PROJECT/NAME/commissure:TAG, or one that the person brings
  bool own_image = true;      ///< built by `up` into the deployment's repository
  std::string source_dir;     ///< what is built: the root of the source tree
  std::string image_builder;  ///< docker, podman or buildah, which build on this machine; "" for Cloud Build
  std::vector<CloudStage> stages;
  std::vector<int> cuts;
  std::string model_name;
  std::vector<std::string> stage_arguments;  ///< flags of `commissure stage`, the same for every stage
  CloudWeights weights;
  std::string bucket;      ///< bare name of the deployment's own: weights, sources and logs of builds
  bool hub_token = false;  ///< the model is gated: the token lies in the secret NAME-hub-token
  bool api_key = false;    ///< stage A wants the key of the secret NAME-api-key
  CloudCallers access = CloudCallers::kIam;
  bool internal = false;  ///< ingress of B, C, ... from the project's network only; needs `network`
  std::string network;    ///< VPC network and subnet for outgoing traffic of all but the last stage; "" for none
  std::string subnet;
  std::map<std::string, std::string> labels;
  std::string warm_schedule;  ///< cron, when Cloud Scheduler wakes the chain; "" for never
  std::string time_zone = "Etc/UTC";

  std::string service(const std::string& letter) const { return name + "-" + letter; }
  /// The account of a stage's letter, of "build" or of "warm".
  std::string account_id(const std::string& role) const { return name + "-" + role; }
  std::string account(const std::string& role) const {
    return account_id(role) + "@" + project + ".iam.gserviceaccount.com";
  }
  std::string hub_secret() const { return name + "-hub-token"; }
  std::string key_secret() const { return name + "-api-key"; }
  std::string warm_job() const { return name + "-warm"; }
  std::string host() const { return region + "-docker.pkg.dev"; }
  std::string repository() const { return host() + "/" + project + "/" + name; }
  /// The folder that holds the weights, without a slash at its end.
  std::string weights_folder() const { return "gs://" + weights.bucket + "/" + weights.prefix; }
  /// MODEL_DIR of every stage.
  std::string model_location() const;
};

/// Checks that the cuts make as many stages as the file describes. Errors: kInvalidArgument.
Status check_cuts(const CloudSpec& spec);

/// Checks names as Google would, that the cuts make the stages, and the like, before anything is asked of Google.
/// Errors: kInvalidArgument, naming the field and the limit.
Status validate(const CloudSpec& spec);

}  // namespace commissure
