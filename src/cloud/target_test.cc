#include "cloud/target.h"

#include <gtest/gtest.h>

#include "cloud/secrets.h"

namespace commissure {
namespace {

constexpr const char* kFile =
    "name: demo\nproject: acme\nregion: europe-west4\nmodel: toy\nimage: registry.example/image:1\nstages: 2\n";

CloudFile file_of(const std::string& more = "") {
  CloudFile file = parse_cloud_file(kFile + more, "", {}).value();
  file.path = "demo.yaml";
  return file;
}

DeployedModel toy_model() {
  DeployedModel model{.weights = {}, .cuts = {5}, .name = "toy-1b", .precision = "exact", .price = DeploymentPrice{}};
  model.weights.bucket = "acme-demo";
  model.weights.prefix = "models/toy";
  model.weights.files = {{"/models/toy.gguf", "toy.gguf", 7, "AAAAAA=="}};
  return model;
}

Result<DeployedModel> find_toy(const CloudFile& /*file*/, bool /*priced*/) { return toy_model(); }

TEST(CloudTarget, PutsTheModelIntoWhatTheFileSays) {
  const auto target = plan_target(file_of("weights: mounted\nkv_dtype: int8\n"), "", find_toy, true);
  ASSERT_TRUE(target.has_value()) << target.error().message();
  const CloudSpec& spec = target->spec;
  EXPECT_EQ(spec.cuts, std::vector<int>{5});
  EXPECT_EQ(spec.model_name, "toy-1b");
  EXPECT_EQ(spec.weights.prefix, "models/toy");
  EXPECT_TRUE(spec.weights.mounted);
  EXPECT_FALSE(spec.own_image);
  const std::vector<std::pair<std::string, std::string>> told = {{"COMMISSURE_KV_DTYPE", "int8"},
                                                                 {"COMMISSURE_PRECISION", "exact"}};
  for (const CloudStage& stage : spec.stages) EXPECT_EQ(stage.environment, told) << stage.letter;
}

TEST(CloudTarget, ANameInTheFileIsTheModelsName) {
  EXPECT_EQ(plan_target(file_of("model_name: assistant\n"), "", find_toy, true)->spec.model_name, "assistant");
}

TEST(CloudTarget, AsksForNoModelWhereTheMachinesAreImpossible) {
  bool asked = false;
  const auto find = [&](const CloudFile&, bool) -> Result<DeployedModel> {
    asked = true;
    return toy_model();
  };
  CloudFile file = file_of();
  file.spec.stages[1].cpu = "3";
  const auto target = plan_target(file, "", find, true);
  ASSERT_FALSE(target);
  EXPECT_TRUE(target.error().message().starts_with("demo.yaml: stage b:")) << target.error().message();
  EXPECT_FALSE(asked);
}

TEST(CloudTarget, BakedWeightsNeedAnImageThatIsBuilt) {
  const auto target = plan_target(file_of("weights: baked\n"), "", find_toy, true);
  ASSERT_FALSE(target);
  EXPECT_NE(target.error().message().find("leave `image` out"), std::string::npos);
}

TEST(CloudSecrets, ComeFromTheEnvironmentThatIsHandedIn) {
  const auto with = [](const std::string& given) {
    return read_secrets([given](const std::string& name) -> std::optional<std::string> {
      return name == given ? std::optional<std::string>("hf_1") : std::nullopt;
    });
  };
  EXPECT_EQ(with("HF_TOKEN").hub_token, "hf_1");
  EXPECT_EQ(with("HUGGING_FACE_HUB_TOKEN").hub_token, "hf_1");
  EXPECT_EQ(with("COMMISSURE_API_KEY").api_key, "hf_1");
  EXPECT_EQ(with("OTHER").hub_token + with("OTHER").api_key, "");
}

}  // namespace
}  // namespace commissure
