// The table of keys. A new key of commissure.yaml touches at most these six files:
//   1. src/deployment/cloud_file.h (or cloud_spec.h)  its field
//   2. src/deployment/file_keys.cc                    its row in one of the tables below
//   3. src/cloud/service_fields.cc                    where the platform has a flag for it; or the one file that acts
//   on
//                                                     it, e.g. src/plan/plan_making.cc; none where `variable` or `flag`
//                                                     of the row tells the stages' program
//   4. docs/commissure.schema.json                    } `make keys` writes both
//   5. docs/commissure-yaml.md                        }
//   6. deploy/terraform/chain.tf (or services.tf)     its variable, and what it becomes; none: kNotInTerraform
// tests/lint/schema_test.py and the tests FileKeys.* fail where one of them lacks it; the tests of the parser, of the
// services' flags and of the Terraform module try it with the row's `example`.
#include "deployment/file_keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/check.h"

namespace commissure {

namespace {

const FileKey kDeploymentKeys[] = {
    {.name = "name",
     .about = "begins the names of all resources; stage A is NAME-a",
     .field = &CloudSpec::name,
     .example = "demo"},
    {.name = "project",
     .about = "id of the Google Cloud project",
     .field = &CloudSpec::project,
     .example = "my-project",
     .seen = "--project"},
    {.name = "region",
     .about = "where everything is, e.g. europe-west4",
     .field = &CloudSpec::region,
     .example = "europe-west1",
     .seen = "--region"},
    {.name = "budget",
     .about = "most USD an hour while all stages are up; plan and up refuse more",
     .field = &CloudFile::budget,
     .example = "4.5",
     .terraform = kNotInTerraform},
    {.name = "model",
     .about = "known name, file, folder, URL, gs://... or hf:OWNER/REPO",
     .field = &CloudFile::model,
     .example = "smollm2-135m"},
    {.name = "revision",
     .about = "branch, tag or commit of the hub repository",
     .field = &CloudFile::revision,
     .example = "main",
     .terraform = kNotInTerraform},
    {.name = "quantisation",
     .about = "which GGUF of a hub repository, e.g. Q4_K_M; the same for all stages",
     .field = &CloudFile::quantisation,
     .example = "Q4_K_M",
     .terraform = kNotInTerraform},
    {.name = "model_name",
     .about = "what clients call the model",
     .field = &CloudSpec::model_name,
     .example = "assistant",
     .seen = "MODEL_NAME"},
    {.name = "hub_token",
     .about = "the model is gated; the token lies in a secret",
     .field = &CloudSpec::hub_token,
     .example = "true",
     .terraform = kNotInTerraform},
    {.name = "context",
     .about = "longest sequence in tokens",
     .field = &CloudFile::context,
     .example = "4096",
     .least = 16,
     .most = 1 << 20,
     .otherwise = "the model's, at most 8192",
     .flag = "--max-model-len"},
    {.name = "streams",
     .about = "full contexts that every stage has room for; needs `context`",
     .field = &CloudFile::streams,
     .example = "2",
     .least = 1,
     .most = 4096,
     .otherwise = "4",
     .seen = "--args"},
    {.name = "kv_dtype",
     .about = "keys and values as bf16 (auto), or int8: half the memory",
     .field = &CloudFile::kv_dtype,
     .example = "int8",
     .choices = {"auto", "bf16", "int8"},
     .variable = "COMMISSURE_KV_DTYPE",
     .untold = "bf16"},
    {.name = "quant",
     .about = "float weights become int8 or nf4 while stages load them; with +head the head too",
     .field = &CloudFile::quant,
     .example = "nf4",
     .choices = {"none", "int8", "nf4", "int8+head", "nf4+head"},
     .seen = "QUANT"},
    {.name = "weights",
     .about =
         "how stages read the weights: by ranges from the bucket, mounted through a volume, or baked into the image",
     .field =
         [](CloudFile& file, const std::string& choice) {
           file.spec.weights.mounted = choice == "mounted";
           file.spec.weights.baked = choice == "baked";
         },
     .example = "mounted",
     .choices = {"bucket", "mounted", "baked"},
     .seen = "--add-volume"},
    {.name = "cuts",
     .about = "layers at which stages B, C, ... begin",
     .field = KeyPart::kCuts,
     .example = "[10, 20]",
     .otherwise = "chosen to level the stages' bytes",
     .seen = "K1"},
    {.name = "stages",
     .about = "a number, a map for all stages, or a list with one map each",
     .field = KeyPart::kStages,
     .example = "3",
     .otherwise = "3"},
    {.name = "warm_schedule",
     .about = "when Cloud Scheduler wakes the stages: cron, five fields, e.g. 0 8 * * 1-5",
     .field = &CloudSpec::warm_schedule,
     .example = "0 8 * * 1-5",
     .otherwise = "never"},
    {.name = "time_zone",
     .about = "of warm_schedule, e.g. Europe/Berlin",
     .field = &CloudSpec::time_zone,
     .example = "Europe/Berlin"},
    {.name = "bucket",
     .about = "bare name, no gs://",
     .field = &CloudSpec::bucket,
     .example = "my-weights",
     .otherwise = "PROJECT-NAME"},
    {.name = "image",
     .about = "an image to use",
     .field = &CloudFile::image,
     .example = "registry.example/commissure:1",
     .otherwise = "`up` builds one",
     .seen = "--image"},
    {.name = "access",
     .about = "who may call stage A: iam (Google accounts), key (holders of an API key), both, or public (everybody, "
              "without a "
              "key)",
     .field =
         [](CloudFile& file, const std::string& choice) {
           const bool is_open = choice == "key" || choice == "public";
           file.spec.access = is_open ? CloudCallers::kPublic : CloudCallers::kIam;
           file.spec.api_key = choice == "key" || choice == "both";
         },
     .example = "both",
     .choices = {"iam", "key", "both", "public"},
     .seen = "--set-secrets"},
    {.name = "network",
     .about = "the VPC network that stages send through: a map with name, subnet and internal",
     .field = KeyPart::kNetwork,
     .example = "{name: vpc, subnet: sub}",
     .otherwise = "none",
     .seen = "--network"},
    {.name = "labels",
     .about = "of every resource that takes them: a map",
     .field = KeyPart::kLabels,
     .example = "{team: lab}",
     .otherwise = "none",
     .seen = "--labels"},
};

const FileKey kStageKeys[] = {
    {.name = "cpu",
     .about = "vCPU: 1, 2, 4, 6 or 8; 20 and more with a large GPU",
     .field = &CloudStage::cpu,
     .example = "2",
     .least = 1,
     .most = 64,
     .seen = "--cpu"},
    {.name = "memory",
     .about = "of the instance, e.g. 16Gi",
     .field = &CloudStage::memory,
     .example = "8Gi",
     .seen = "--memory"},
    {.name = "gpu",
     .about = "nvidia-l4 or nvidia-rtx-pro-6000",
     .field = &CloudStage::gpu,
     .example = "nvidia-l4",
     .otherwise = "none",
     .seen = "--gpu-type"},
    {.name = "device",
     .about = "where the stage computes: cpu, cuda (its GPU), or auto: cuda where it has a GPU",
     .field = &CloudStage::device,
     .example = "cpu",
     .choices = {"auto", "cpu", "cuda"},
     .seen = "DEVICE"},
    {.name = "zonal_redundancy",
     .about = "of the GPU; dearer, under another quota",
     .field = &CloudStage::zonal_redundancy,
     .example = "true",
     .seen = "--gpu-zonal-redundancy"},
    {.name = "min_instances",
     .about = "kept up, and billed while idle",
     .field = &CloudStage::min_instances,
     .example = "1",
     .most = 1000,
     .seen = "--min"},
    {.name = "max_instances",
     .about = "at most so many; more than one only of a model that is not split",
     .field = &CloudStage::max_instances,
     .example = "2",
     .least = 1,
     .most = 1000,
     .seen = "--max-instances"},
    {.name = "concurrency",
     .about = "requests that one instance takes at once",
     .field = &CloudStage::concurrency,
     .example = "4",
     .least = 1,
     .most = 1000,
     .seen = "--concurrency"},
    {.name = "quant",
     .about = "as `quant` of the deployment, of this stage",
     .field = &CloudStage::quant,
     .example = "int8",
     .choices = {"none", "int8", "nf4", "int8+head", "nf4+head"},
     .otherwise = "the deployment's",
     .variable = "QUANT"},
};

const FileKey kNetworkKeys[] = {
    {.name = "name",
     .about = "VPC network for outgoing traffic",
     .field = &CloudSpec::network,
     .example = "vpc",
     .seen = "--network",
     .terraform = "network"},
    {.name = "subnet",
     .about = "its subnet, with Private Google Access",
     .field = &CloudSpec::subnet,
     .example = "sub",
     .otherwise = "as name",
     .seen = "--subnet"},
    {.name = "internal",
     .about = "stages B, C, ... only take traffic from the network",
     .field = &CloudSpec::internal,
     .example = "true",
     .seen = "--ingress"},
};

/// A field's value as the program of a stage reads it.
struct FieldText {
  const CloudFile& file;
  const CloudStage& stage;

  std::string text(const std::string& value) const { return value; }
  std::string text(int value) const { return std::to_string(value); }
  std::string text(double value) const { return fmt::format("{:g}", value); }
  std::string text(bool value) const { return value ? "true" : "false"; }

  template <typename T>
  std::string operator()(T CloudFile::* field) const {
    return text(file.*field);
  }
  template <typename T>
  std::string operator()(T CloudSpec::* field) const {
    return text(file.spec.*field);
  }
  template <typename T>
  std::string operator()(T CloudStage::* field) const {
    return text(stage.*field);
  }
  std::string operator()(KeySetter /*set*/) const { return ""; }
  std::string operator()(KeyPart /*part*/) const { return ""; }
};

/// A value that the stages' program would not have untold.
bool must_be_told(const FileKey& key, const std::string& value) {
  return value != key.untold && value != key_text(key, CloudFile(), CloudStage());
}

}  // namespace

std::span<const FileKey> deployment_keys() { return kDeploymentKeys; }
std::span<const FileKey> stage_keys() { return kStageKeys; }
std::span<const FileKey> network_keys() { return kNetworkKeys; }

std::string key_text(const FileKey& key, const CloudFile& file, const CloudStage& stage) {
  return std::visit(FieldText{file, stage}, key.field);
}

std::string file_line(std::span<const FileKey> keys, const std::string& name, const std::string& value) {
  const auto key = std::ranges::find_if(keys, [&](const FileKey& each) { return each.name == name; });
  CHECK(key != keys.end());
  return fmt::format("{}: {} # {}\n", name, value, key->about);
}

void tell_stages(CloudFile& file) {
  for (const std::span<const FileKey> keys : {deployment_keys(), stage_keys()}) {
    for (const FileKey& key : keys) {
      if (*key.variable == '\0') continue;
      for (CloudStage& stage : file.spec.stages) {
        const std::string value = key_text(key, file, stage);
        if (must_be_told(key, value)) stage.environment.emplace_back(key.variable, value);
      }
    }
  }
  for (const FileKey& key : kDeploymentKeys) {
    const std::string value = key_text(key, file, {});
    if (*key.flag == '\0' || !must_be_told(key, value)) continue;
    file.spec.stage_arguments.insert(file.spec.stage_arguments.end(), {key.flag, value});
  }
}

}  // namespace commissure
