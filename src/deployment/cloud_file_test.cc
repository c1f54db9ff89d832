#include "deployment/cloud_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace commissure {
namespace {

Result<CloudFile> parse(std::string_view text, const std::string& deployment = "") {
  return parse_cloud_file(text, deployment, [](const std::string& name) -> std::optional<std::string> {
    if (name == "PROJECT") return "acme";
    return std::nullopt;
  });
}

std::string problem_of(std::string_view text, const std::string& deployment = "") {
  const auto file = parse(text, deployment);
  return file ? "" : file.error().message();
}

TEST(CloudFile, AQuantisationChoosesAFileOfTheHub) {
  const auto model_of = [](const std::string& text) {
    return parse_cloud_file(text + "\nquantisation: Q4_K_M", "", {});
  };
  EXPECT_EQ(model_of("model: hf:acme/toy-GGUF")->model, "hf:acme/toy-GGUF:Q4_K_M");
  EXPECT_FALSE(model_of("model: smollm2-135m"));
  EXPECT_FALSE(model_of("model: hf:acme/toy-GGUF:Q8_0"));
}

TEST(CloudFile, ReadsEverything) {
  const auto file = parse(R"(
name: demo
project: ${PROJECT}
region: ${REGION:-europe-west4}
model: hf:google/gemma-3-27b-it
revision: abc
cuts: [20, 44]
context: 4096
kv_dtype: int8
budget: 4.5
weights: mounted
access: both
stages:
  - {gpu: nvidia-l4, cpu: 8, memory: 32Gi, min_instances: 1}
  - {gpu: nvidia-l4, concurrency: 4}
  - {gpu: nvidia-l4, max_instances: 2, zonal_redundancy: true}
network: {name: vpc, internal: true}
labels: {team: lab}
)");
  ASSERT_TRUE(file.has_value()) << file.error().message();
  const CloudSpec& spec = file->spec;
  EXPECT_EQ(spec.project, "acme");
  EXPECT_EQ(spec.region, "europe-west4");
  EXPECT_EQ(spec.bucket, "acme-demo");
  EXPECT_EQ(spec.cuts, (std::vector<int>{20, 44}));
  EXPECT_EQ(spec.stages[0].cpu, "8");
  EXPECT_EQ(spec.stages[0].min_instances, 1);
  EXPECT_EQ(spec.stages[1].concurrency, 4);
  EXPECT_TRUE(spec.stages[2].zonal_redundancy);
  EXPECT_EQ(spec.stages[1].environment,
            (std::vector<std::pair<std::string, std::string>>{{"COMMISSURE_KV_DTYPE", "int8"}}));
  EXPECT_EQ(file->budget, 4.5);
  EXPECT_EQ(spec.subnet, "vpc");
  EXPECT_TRUE(spec.internal && spec.api_key && spec.weights.mounted);
  EXPECT_EQ(spec.access, CloudCallers::kIam);
  EXPECT_EQ(spec.stage_arguments, (std::vector<std::string>{"--max-model-len", "4096"}));
  EXPECT_EQ(spec.labels.at("team"), "lab");
}

TEST(CloudFile, RoomForStreamsIsPositionsOfTheCache) {
  const auto file = parse("model: m\ncontext: 2048\nstreams: 3\n");
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->spec.stage_arguments,
            (std::vector<std::string>{"--max-model-len", "2048", "--kv-tokens", "6144", "--max-num-seqs", "16"}));
  EXPECT_NE(problem_of("model: m\nstreams: 3\n").find("set `context` too"), std::string::npos);
}

TEST(CloudFile, HoldsSeveralDeploymentsThatOverrideTheRest) {
  constexpr std::string_view text =
      "project: p\nregion: r\nmodel: m\nstages: {count: 2, cpu: 4}\n"
      "deployments:\n  prod: {stages: 3}\n  test: {region: us-central1}\n";
  EXPECT_EQ(problem_of(text), "the file holds several deployments (prod, test): choose with --deployment");
  EXPECT_EQ(problem_of(text, "other"), "no deployment other; there are: prod, test");
  const auto prod = parse(text, "prod");
  ASSERT_TRUE(prod.has_value());
  EXPECT_EQ(prod->spec.name, "prod");
  EXPECT_EQ(prod->spec.stages.size(), 3u);
  const auto test = parse(text, "test");
  EXPECT_EQ(test->spec.region, "us-central1");
  EXPECT_EQ(test->spec.stages.size(), 2u);
}

TEST(CloudFile, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(problem_of("project: p\nregoin: x\nmodel: m\n"), "line 2: unknown key \"regoin\"; did you mean region?");
  EXPECT_EQ(problem_of("model: m\nstages:\n  - {gppu: x}\n"), "line 3: unknown key \"gppu\"; did you mean gpu?");
  EXPECT_EQ(problem_of("model: m\naccess: open\n"),
            "line 2: access is \"open\"; it must be one of: iam, key, both, public");
  EXPECT_EQ(problem_of("model: m\nstages: 27\n"), "line 2: stages is \"27\"; it must be a whole number from 1 to 26");
  EXPECT_EQ(problem_of("model: m\nproject: ${NOPE}\n"),
            "line 2: the environment has no NOPE; set it or write ${NOPE:-value}");
  EXPECT_EQ(problem_of("model: m\nstages:\n  count: 2\n  cpuu: 2\n"),
            "line 4: unknown key \"cpuu\"; did you mean cpu?");
  const std::string two = "model: m\nregoin: x\ndeployments:\n  one:\n    stagse: 2\n  two: {region: r}\n";
  EXPECT_EQ(problem_of(two, "two"), "line 2: unknown key \"regoin\"; did you mean region?");
  EXPECT_EQ(problem_of("model: m\ndeployments:\n  one:\n    stagse: 2\n"),
            "line 4: unknown key \"stagse\"; did you mean stages?");
  EXPECT_EQ(problem_of("region: r\n"), "no `model`: name one, e.g. hf:google/gemma-3-27b-it");
  for (const char* text :
       {"- a\n", "{a", "model: [1]\n", "model: m\ncuts: x\n", "model: m\ncuts: [a]\n", "model: m\nlabels: 3\n",
        "model: m\nnetwork: x\n", "model: m\nstages: []\n", "model: m\nstages: [3]\n", "", "model: ${X\n",
        "model: m\ndeployments: 3\n", "model: m\ndeployments: {one: 3}\n", "&a [*a]\n"}) {
    EXPECT_NE(problem_of(text), "") << text;
  }
}

TEST(CloudFile, CutsAreLayersThatRise) {
  EXPECT_EQ(parse("model: m\ncuts: [10, \"${NONE:-20}\"]\n")->spec.cuts, (std::vector<int>{10, 20}));
  EXPECT_EQ(problem_of("model: m\ncuts: [44,\n  20]\n"),
            "line 3: cuts must rise, as each stage begins behind the one before it: 20 comes after 44");
  EXPECT_EQ(problem_of("model: m\ncuts: [20, 20]\n"),
            "line 2: cuts must rise, as each stage begins behind the one before it: 20 comes after 20");
  for (const char* cut : {"0", "-3", "1.5", "x", "{a: 1}", "0x10", "99999999999"})
    EXPECT_EQ(problem_of(std::string("model: m\ncuts: [") + cut + "]\n"), "line 2: a cut must be a layer's number");
}

TEST(CloudFile, ADeploymentIsMergedKeyByKey) {
  const std::string text =
      "model: m\nlabels: {team: lab, cost: low}\nstages: {count: 2, cpu: 8}\nname: base\n"
      "deployments:\n  prod: {labels: {team: ops}}\n  test: {name: other, stages: 1}\n  bare:\n";
  const auto prod = parse(text, "prod");
  ASSERT_TRUE(prod.has_value()) << prod.error().message();
  EXPECT_EQ(prod->spec.name, "prod") << "its own name, never the file's";
  EXPECT_EQ(prod->spec.labels, (std::map<std::string, std::string>{{"team", "ops"}})) << "a key is replaced whole";
  EXPECT_EQ(prod->spec.stages[1].cpu, "8");
  const auto test = parse(text, "test");
  EXPECT_EQ(test->spec.name, "other");
  EXPECT_EQ(test->spec.stages.size(), 1u);
  EXPECT_EQ(test->spec.labels.at("cost"), "low");
  EXPECT_EQ(parse(text, "bare")->spec.stages.size(), 2u) << "one that changes nothing";
  EXPECT_EQ(problem_of("model: m\n", "prod"), "the file has no `deployments`, so none is called prod");
}

TEST(CloudFile, IsBounded) {
  EXPECT_EQ(problem_of("model: m\n#" + std::string(1 << 20, 'x')), "the file is larger than a megabyte");
}

TEST(CloudFile, SequencesFollowStreamsWithinLimits) {
  const auto sequences = [](const std::string& more) { return parse("model: m\ncontext: 1024\n" + more)->sequences(); };
  EXPECT_EQ(sequences(""), 64);
  EXPECT_EQ(sequences("streams: 2\nstages: {concurrency: 40}\n"), 40) << "as many as stage A takes requests";
  EXPECT_EQ(sequences("streams: 100\nstages: {concurrency: 40}\n"), 100);
  EXPECT_EQ(sequences("streams: 4096\n"), 1024) << "at most what a step's header holds";
}

TEST(CloudFile, SaysWhyAStageHasNoWeightsOfItsOwn) {
  const std::string why = "line 3: quantisation cannot differ by stage; all stages of a chain compute one model file";
  EXPECT_TRUE(problem_of("model: m\nstages:\n  - {quantisation: Q8_0}\n").starts_with(why));
  EXPECT_TRUE(problem_of("model: m\nstages:\n  quantisation: Q8_0\n").starts_with(why));
  EXPECT_TRUE(problem_of("model: m\nstages: [{kv_dtype: int8}]\n").starts_with("line 2: kv_dtype cannot differ"));
  EXPECT_TRUE(problem_of("model: m\ndtype: bf16\n").starts_with("line 2: dtype is not a key; all stages of a chain"));
}

TEST(CloudFile, AKeyIsThereOnce) {
  EXPECT_EQ(problem_of("model: m\nmodel: n\n"), "line 2: the key \"model\" is there twice");
  EXPECT_EQ(problem_of("model: m\nstages: [{cpu: 2,\n  cpu: 4}]\n"), "line 3: the key \"cpu\" is there twice");
}

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

const std::filesystem::path kSource = COMMISSURE_SOURCE_DIR;

TEST(CloudFile, EveryExampleIsValid) {
  int n_examples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kSource / "examples/deploy")) {
    const auto file = parse(contents(entry.path()));
    ASSERT_TRUE(file.has_value()) << entry.path() << ": " << file.error().message();
    EXPECT_EQ(file->spec.cuts.size() + 1, file->spec.stages.size()) << entry.path();
    ++n_examples;
  }
  EXPECT_GE(n_examples, 5);
}

}  // namespace
}  // namespace commissure
