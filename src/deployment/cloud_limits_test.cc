#include "deployment/cloud_limits.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "deployment/cloud_file.h"
#include "support/cloud_test_spec.h"

namespace commissure {
namespace {

const Catalogue& catalogue() {
  static const Catalogue built_in = parse_catalogue(built_in_catalogue()).value();
  return built_in;
}

/// What is wrong with `test_spec` when its middle stage is so; "" for nothing.
std::string problem(const std::string& cpu, const std::string& memory, const std::string& gpu = "",
                    const std::string& region = "europe-west4") {
  CloudSpec spec = test_spec();
  spec.region = region;
  for (CloudStage& stage : spec.stages) stage.gpu = "";
  spec.stages[1].cpu = cpu;
  spec.stages[1].memory = memory;
  spec.stages[1].gpu = gpu;
  const Status status = check_limits(spec, catalogue());
  return status ? "" : status.error().message();
}

TEST(CloudLimits, ReadSizesAsGcloudDoes) {
  EXPECT_EQ(parse_cpus("4").value(), 4);
  EXPECT_EQ(parse_cpus("1500m").value(), 1.5);
  EXPECT_EQ(parse_memory_gib("16Gi").value(), 16);
  EXPECT_EQ(parse_memory_gib("512Mi").value(), 0.5);
  EXPECT_NEAR(parse_memory_gib("2G").value(), 1.862645, 1e-6);
  EXPECT_NEAR(parse_memory_gib("2000M").value(), parse_memory_gib("2G").value(), 1e-12);
  for (const char* wrong : {"", "0", "-1", "4 ", " 4", "4cpu", "inf", "nan", "m"}) {
    EXPECT_FALSE(parse_cpus(wrong).has_value()) << wrong;
    EXPECT_FALSE(parse_memory_gib(std::string(wrong) + "Gi ").has_value()) << wrong;
  }
  for (const char* wrong : {"16", "16GB", "16gi", "16Ti", "0Gi", "-1Gi", "Gi", "infGi"})
    EXPECT_FALSE(parse_memory_gib(wrong).has_value()) << wrong;
}

TEST(CloudLimits, TakeWhatCloudRunTakes) {
  for (const auto& [cpu, memory] :
       {std::pair{"1", "512Mi"}, std::pair{"1", "4Gi"}, std::pair{"2", "8Gi"}, std::pair{"4", "2Gi"},
        std::pair{"4000m", "16Gi"}, std::pair{"6", "24Gi"}, std::pair{"8", "32Gi"}, std::pair{"8", "34359M"}}) {
    EXPECT_EQ(problem(cpu, memory), "") << cpu << " " << memory;
  }
  EXPECT_EQ(problem("4", "16Gi", "nvidia-l4"), "");
  EXPECT_EQ(problem("8", "32Gi", "nvidia-l4"), "");
  EXPECT_EQ(problem("20", "80Gi", "nvidia-rtx-pro-6000"), "");
}

TEST(CloudLimits, NameTheNearestPairOfCpuAndMemory) {
  EXPECT_EQ(problem("3", "4Gi"), "stage b: no instance has 3 vCPU: set cpu: 2");
  EXPECT_EQ(problem("20", "32Gi"), "stage b: no instance has 20 vCPU: set cpu: 8");
  EXPECT_EQ(problem("2", "16Gi"), "stage b: 2 vCPU take 512Mi to 8Gi of memory, not 16Gi: set memory: 8Gi or cpu: 4");
  EXPECT_EQ(problem("8", "1Gi"), "stage b: 8 vCPU take 4Gi to 32Gi of memory, not 1Gi: set memory: 4Gi or cpu: 1");
  EXPECT_EQ(problem("8", "64Gi"), "stage b: 8 vCPU take 4Gi to 32Gi of memory, not 64Gi: set memory: 32Gi");
  EXPECT_EQ(problem("four", "4Gi"), "stage b: cpu is \"four\"; it must be a number of vCPUs, e.g. 4");
  EXPECT_EQ(problem("4", "16 GB"), "stage b: memory is \"16 GB\"; it must be a size such as 16Gi or 512Mi");
}

TEST(CloudLimits, NameWhatAGpuNeedsAndWhereItIs) {
  EXPECT_EQ(problem("2", "8Gi", "nvidia-l4"),
            "stage b: nvidia-l4 takes 4 to 8 vCPU and 16Gi to 32Gi beside it, not 2 and 8Gi: set cpu: 4 and "
            "memory: 16Gi");
  EXPECT_EQ(problem("4", "32Gi", "nvidia-l4"),
            "stage b: 4 vCPU take 2Gi to 16Gi of memory, not 32Gi: set memory: 16Gi or cpu: 8");
  EXPECT_EQ(problem("8", "32Gi", "nvidia-rtx-pro-6000"),
            "stage b: nvidia-rtx-pro-6000 takes 20 to 44 vCPU and 80Gi to 176Gi beside it, not 8 and 32Gi: set cpu: 20 "
            "and memory: 80Gi");
  const std::string unknown = problem("4", "16Gi", "nvidia-t4");
  EXPECT_NE(unknown.find("has no GPU nvidia-t4; its GPUs: nvidia-l4, nvidia-rtx-pro-6000"), std::string::npos)
      << unknown;
  const std::string elsewhere = problem("20", "80Gi", "nvidia-rtx-pro-6000", "europe-west1");
  EXPECT_TRUE(
      elsewhere.starts_with("stage b: nvidia-rtx-pro-6000 is not offered in europe-west1: set region: "
                            "europe-west4 (catalogue of "))
      << elsewhere;
}

TEST(CloudLimits, KeepOneInstanceOfEachStageOfAChain) {
  for (const std::size_t stage : {0u, 1u, 2u}) {
    CloudSpec spec = test_spec();
    spec.stages[stage].max_instances = 2;
    const Status status = check_limits(spec, catalogue());
    ASSERT_FALSE(status.has_value());
    EXPECT_NE(status.error().message().find("set max_instances: 1"), std::string::npos) << status.error().message();
  }
  CloudSpec whole = test_spec();
  whole.stages.resize(1);
  whole.stages[0].max_instances = 5;
  EXPECT_TRUE(check_limits(whole, catalogue()).has_value()) << "a model that is not split scales";
  whole.stages[0].min_instances = 6;
  EXPECT_EQ(check_limits(whole, catalogue()).error().message(),
            "stage a: min_instances 6 is above max_instances 5: set min_instances: 5");
}

TEST(CloudLimits, AGpuNeedsAnImageWithKernelsForIt) {
  CloudSpec spec = test_spec();
  spec.stages[0].gpu = "";
  const Status refused = check_device(spec);
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(refused.error().message().starts_with("stage b: the image that is built here computes on CPUs only"))
      << refused.error().message();
  spec.own_image = false;
  EXPECT_TRUE(check_device(spec).has_value()) << "somebody else's image may have them";
  spec.own_image = true;
  for (CloudStage& stage : spec.stages) stage.device = "cpu";
  EXPECT_TRUE(check_device(spec).has_value());
  for (CloudStage& stage : spec.stages) stage.device = "auto", stage.gpu = "";
  EXPECT_TRUE(check_device(spec).has_value());
}

TEST(CloudLimits, AStageComputesOnAGpuThatItHas) {
  CloudSpec spec = test_spec();
  for (CloudStage& stage : spec.stages) stage.gpu = "";
  spec.stages[1].device = "cuda";
  EXPECT_EQ(check_limits(spec, catalogue()).error().message(),
            "stage b: device is cuda, but the stage has no GPU: set `gpu`, or leave `device` out");
}

TEST(CloudLimits, EveryShippedExampleKeepsThem) {
  int n_examples = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(COMMISSURE_SOURCE_DIR) / "examples/deploy")) {
    std::ifstream text(entry.path());
    const auto file = parse_cloud_file(std::string{std::istreambuf_iterator<char>(text), {}}, "",
                                       [](const std::string&) { return std::nullopt; });
    ASSERT_TRUE(file.has_value()) << entry.path() << file.error().message();
    const Status status = check_limits(file->spec, catalogue());
    EXPECT_TRUE(status.has_value()) << entry.path() << ": " << status.error().message();
    ++n_examples;
  }
  EXPECT_GE(n_examples, 5);
}

}  // namespace
}  // namespace commissure
