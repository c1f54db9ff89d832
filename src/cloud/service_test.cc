#include "cloud/service.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "cloud/service_fields.h"
#include "deployment/file_keys.h"
#include "support/cloud_test_spec.h"

namespace commissure {
namespace {

constexpr const char* kNext = "https://demo-c-42.europe-west4.run.app";
constexpr const char* kOwn = "https://demo-b-42.europe-west4.run.app";
constexpr const char* kOwnC = "https://demo-c-42.europe-west4.run.app";

TEST(CloudService, DeploysAMiddleStageWithTheseWords) {
  CloudSpec spec = test_spec();
  spec.image = "registry/image:1";
  const ProgramCall call = deploy_call(spec, spec.stages[1], {}, {kNext, kOwn});
  EXPECT_EQ(
      command_line(call),
      "gcloud run deploy demo-b --project=acme --region=europe-west4 --format=json --image=registry/image:1 "
      "--service-account=demo-b@acme.iam.gserviceaccount.com --cpu=4 --memory=16Gi --no-cpu-throttling --cpu-boost "
      "--execution-environment=gen2 --concurrency=16 --timeout=3600 --max-instances=1 --min=0 --port=8080 "
      "--use-http2 --ingress=all --no-allow-unauthenticated "
      "--startup-probe=grpc.service=live,grpc.port=8080,timeoutSeconds=2,periodSeconds=2,failureThreshold=120 "
      "--liveness-probe=grpc.service=live,grpc.port=8080,timeoutSeconds=5,periodSeconds=30,failureThreshold=4 "
      "--gpu=1 --gpu-type=nvidia-l4 --no-gpu-zonal-redundancy "
      "--set-env-vars=STAGE=b,K1=20,K2=44,MODEL_DIR=gs://acme-demo/models/gemma,MODEL_NAME=gemma,DEVICE=cuda,"
      "C_ENDPOINT=https://demo-c-42.europe-west4.run.app,"
      "COMMISSURE_REQUIRE_IDENTITY=https://demo-b-42.europe-west4.run.app,"
      "COMMISSURE_ALLOWED_CALLERS=demo-a@acme.iam.gserviceaccount.com --args=stage "
      "--labels=commissure-deployment=demo,commissure-stage=b,commissure-release=" +
          release_id(spec) + " --quiet");
}

TEST(CloudService, FirstStageSpeaksHttpAndTakesTheKeyFromASecret) {
  CloudSpec spec = test_spec();
  spec.api_key = true;
  spec.access = CloudCallers::kPublic;
  spec.stage_arguments = {"--max-model-len", "4096"};
  const std::string line = command_line(deploy_call(spec, spec.stages[0], {}, {"https://b"}));
  for (const char* part :
       {"--no-use-http2", " --allow-unauthenticated", "httpGet.path=/live", "B_ENDPOINT=https://b",
        "--set-secrets=COMMISSURE_API_KEY=demo-api-key:latest", "--args=stage,--max-model-len,4096"}) {
    EXPECT_NE(line.find(part), std::string::npos) << part << " in " << line;
  }
}

TEST(CloudService, MountsTheBucketAndKeepsToTheNetworkWhenAsked) {
  CloudSpec spec = test_spec();
  spec.weights.mounted = true;
  spec.internal = true;
  spec.network = "vpc";
  spec.subnet = "sub";
  const std::string b = command_line(deploy_call(spec, spec.stages[1], {}, {"https://c"}));
  for (const char* part :
       {"--add-volume=name=weights,type=cloud-storage,readonly=true,bucket=acme-demo",
        "--add-volume-mount=volume=weights,mount-path=/models", "MODEL_DIR=/models/models/gemma", "--ingress=internal",
        "--network=vpc --subnet=sub --vpc-egress=all-traffic", "--args=stage,--read-weights"}) {
    EXPECT_NE(b.find(part), std::string::npos) << part << " in " << b;
  }
  const std::string c = command_line(deploy_call(spec, spec.stages[2], {}, {""}));
  EXPECT_EQ(c.find("--network"), std::string::npos) << "the last stage calls nobody";
}

TEST(CloudService, SeparatesListsOtherwiseWhenAValueHoldsAComma) {
  CloudSpec spec = test_spec();
  spec.model_name = "a,b";
  const std::string line = command_line(deploy_call(spec, spec.stages[2], {}, {""}));
  EXPECT_NE(line.find("'--set-env-vars=^|^STAGE=c|K1=20|"), std::string::npos) << line;
}

TEST(CloudService, FindsNothingToChangeInWhatItDeployed) {
  const CloudSpec spec = test_spec();
  const Json body = deployed_stage_c(spec, release_id(spec));
  EXPECT_EQ(compare(wanted_facts(spec, spec.stages[2], {"", kOwnC}), observed_facts(body)), std::vector<std::string>());
}

TEST(CloudService, NamesWhatSomebodyChangedByHand) {
  const CloudSpec spec = test_spec();
  Json body = deployed_stage_c(spec, release_id(spec));
  Json& container = body["spec"]["template"]["spec"]["containers"][0];
  container["resources"]["limits"]["memory"] = "8Gi";
  container["env"].push_back({{"name", "EXTRA"}, {"value", "1"}});
  body["spec"]["traffic"] = Json::array({{{"revisionName", "demo-c-1"}, {"percent", 100}}});
  body["status"]["conditions"][0]["status"] = "False";
  body["status"]["conditions"][0]["message"] = "it fell over";
  const std::vector<std::string> expected = {"memory: 8Gi instead of 16Gi", "traffic: demo-c-1 instead of latest",
                                             "env EXTRA: 1 instead of nothing", "not ready: it fell over"};
  EXPECT_EQ(compare(wanted_facts(spec, spec.stages[2], {"", kOwnC}), observed_facts(body)), expected);
}

TEST(CloudService, TakesAwayAGpuAVolumeAndASecretThatAreNoLongerWanted) {
  CloudSpec spec = test_spec();
  Json body = deployed_stage_c(spec, release_id(spec));
  Json& inner = body["spec"]["template"]["spec"];
  inner["volumes"] = *parse_json(R"([{"name": "weights", "csi": {"volumeAttributes": {"bucketName": "x"}}}])");
  CloudState state;
  state.services["demo-c"] = body;
  spec.stages[2].gpu = "";
  const std::string line = command_line(deploy_call(spec, spec.stages[2], state, {""}));
  EXPECT_NE(line.find("--gpu=0 --clear-volumes --clear-volume-mounts"), std::string::npos) << line;
}

TEST(CloudService, AReleaseChangesWithEverythingTheStagesShare) {
  const std::string id = release_id(test_spec());
  CloudSpec other = test_spec();
  other.cuts = {21, 44};
  EXPECT_NE(release_id(other), id);
  other = test_spec();
  other.image += "x";
  EXPECT_NE(release_id(other), id);
  other = test_spec();
  other.stages[0].min_instances = 1;  // changed without a new revision
  EXPECT_EQ(release_id(other), id);
}

/// The flags of stage b of a file's chain; of `--set-env-vars` each variable apart.
std::vector<std::string> words_of(const std::string& text) {
  CloudFile file = parse_cloud_file(text, "", {}).value();
  if (file.spec.image.empty()) file.spec.image = file.image;
  ProgramCall call = deploy_call(file.spec, file.spec.stages[1], {}, {kNext, kOwn});
  for (const auto& [name, value] : stage_environment(file.spec, file.spec.stages[1], {}))
    call.arguments.push_back(name + "=" + value);
  if (file.spec.api_key) {  // stage a alone
    const ProgramCall first = deploy_call(file.spec, file.spec.stages[0], {}, {kNext, kOwn});
    std::ranges::copy_if(first.arguments, std::back_inserter(call.arguments),
                         [](const std::string& word) { return word.starts_with("--set-secrets="); });
  }
  return call.arguments;
}

/// Every key that says by which flag or variable of a service it is seen changes that one.
TEST(CloudService, AKeyOfTheFileIsSeenWhereItsRowSays) {
  const std::string base = "model: m\n";
  int n_seen = 0;
  for (const std::span<const FileKey> keys : {deployment_keys(), stage_keys(), network_keys()}) {
    for (const FileKey& key : keys) {
      const std::string seen = *key.variable != '\0' ? key.variable : *key.flag != '\0' ? "--args" : key.seen;
      if (seen.empty()) continue;
      ++n_seen;
      const std::string line = std::string(key.name) + ": " + key.example;
      std::string before = base, with = base + line + "\n";
      if (keys.data() == stage_keys().data()) {  // most need a GPU beside them, or do not mind it
        const bool is_gpu = key.name == std::string("gpu");
        before = base + "stages: {count: 3" + (is_gpu ? "" : ", gpu: nvidia-l4") + "}\n";
        with = base + "stages: {count: 3" + (is_gpu ? "" : ", gpu: nvidia-l4") + ", " + line + "}\n";
      } else if (keys.data() == network_keys().data()) {
        const bool is_name = key.name == std::string("name");
        before = base + (is_name ? "" : "network: {name: vpc}\n");
        with = base + "network: {" + (is_name ? "" : "name: vpc, ") + line + "}\n";
      } else if (key.name == std::string("streams")) {
        before = base + "context: 2048\n";
        with = before + line + "\n";
      }
      const std::vector<std::string> old = words_of(before), now = words_of(with);
      const auto is_changed = [&](const std::string& word) {
        const bool is_it = word == seen || word.starts_with(seen + "=");
        return is_it && std::ranges::find(old, word) == old.end();
      };
      EXPECT_TRUE(std::ranges::any_of(now, is_changed)) << key.name << " is not seen by " << seen;
    }
  }
  EXPECT_GE(n_seen, 15);
}

/// Whatever `up` wants of a service it can also see, or it would deploy for ever.
TEST(CloudService, EveryFieldIsReadBackAsItIsWanted) {
  const CloudSpec spec = test_spec();
  const ServiceFacts observed = observed_facts(deployed_stage_c(spec, release_id(spec)));
  for (const ServiceField& field : service_fields()) {
    if (*field.fact == '\0') continue;
    ASSERT_NE(field.wanted, nullptr) << field.fact;
    EXPECT_FALSE(field.path.empty()) << field.fact;
    const auto wanted = field.wanted(spec, spec.stages[2]);
    EXPECT_EQ(observed.at(field.fact), wanted.value_or("none")) << field.fact;
  }
}

}  // namespace
}  // namespace commissure
