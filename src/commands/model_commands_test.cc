#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/json.h"
#include "deployment/cloud_file.h"
#include "support/command_run.h"
#include "support/environment_guard.h"
#include "support/temp_folder.h"
#include "support/text_lines.h"
#include "support/toy_model.h"

namespace commissure {
namespace {

using testing::CommandOutcome;
using testing::run_command;

void expect_fits(const std::string& text, std::size_t n_columns) {
  for (const std::string_view line : testing::lines_of(text)) EXPECT_LE(line.size(), n_columns) << line;
}

/// `inspect`, `models`, `init` and `plan` beside a cache of the test's own.
class ModelCommands : public ::testing::Test {
 protected:
  ModelCommands() {
    environment_.set("COMMISSURE_CACHE", folder_.path("cache"));
    environment_.unset("GOOGLE_CLOUD_PROJECT");
  }
  std::string contents(const std::string& file) const {
    std::ifstream stream(folder_.path(file));
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  testing::TempFolder folder_;
  testing::EnvironmentGuard environment_;
  const std::string model_ = folder_.write("toy.gguf", testing::toy_gguf({.is_gemma = true, .n_layers = 5}));
  const std::string config_ = folder_.write("config.json", testing::toy_config({.n_layers = 6}));
};

TEST_F(ModelCommands, InspectCountsEveryTensorOnce) {
  const Json json = parse_json(run_command(add_inspect, {model_, "--stages", "2", "--tensors", "--json"}).out).value();
  EXPECT_EQ(json["n_layers"], 5);
  EXPECT_EQ(json["d_model"], 64);
  EXPECT_EQ(json["stages"].size(), 2u);
  EXPECT_EQ(json["layer_bytes"].size(), 5u);
  std::uint64_t bytes = 0, layers = 0;
  for (const Json& tensor : json["tensors"]) {
    bytes += tensor["bytes"].get<std::uint64_t>();
    if (tensor["name"].get<std::string>().starts_with("blk.")) layers += tensor["bytes"].get<std::uint64_t>();
  }
  std::uint64_t by_layer = 0, by_stage = 0;
  for (const Json& layer : json["layer_bytes"]) by_layer += layer.get<std::uint64_t>();
  for (const Json& stage : json["stages"]) by_stage += stage["weight_bytes"].get<std::uint64_t>();
  EXPECT_EQ(by_layer, layers);
  EXPECT_GT(by_stage, bytes) << "the tied embedding lies in the first stage and in the last";
  EXPECT_LT(by_stage, 2 * bytes);
}

TEST_F(ModelCommands, InspectPrintsTablesForPeople) {
  const CommandOutcome shown = run_command(add_inspect, {model_, "--cuts", "2,4", "--tensors"});
  EXPECT_EQ(shown.status, 0) << shown.problem;
  for (const char* part :
       {"family gemma3, 5 layers, d_model 64, 4 heads / 2 kv heads of 32", "\na      0-1 ", "\nb      2-3 ",
        "\nc      4-4 ", "in the layers that see the last 24", "\ntoken_embd.weight"})
    EXPECT_NE(shown.out.find(part), std::string::npos) << part << " is not in\n" << shown.out;
  const std::size_t stages = shown.out.find("STAGE"), tensors = shown.out.find("TENSOR");
  expect_fits(shown.out.substr(stages, shown.out.find("\nKV (") - stages), 80);
  expect_fits(shown.out.substr(tensors), 80);
}

TEST_F(ModelCommands, AQuantisationThatCannotBeIsAWrongFlag) {
  const std::string done = folder_.write("q8.gguf", testing::toy_gguf({.matrices = DType::kQ8_0}));
  const std::string out = folder_.path("out");
  const auto status = [&](CommandRun (*add)(CLI::App&), const std::vector<std::string>& arguments) {
    const CommandOutcome outcome = run_command(add, arguments);
    EXPECT_NE(outcome.problem + outcome.err, "");
    return outcome.status;
  };
  EXPECT_EQ(status(add_inspect, {done, "--quant", "int8"}), 2) << "quantised already";
  EXPECT_EQ(status(add_inspect, {model_, "--stages", "2", "--quant", "int8,nf4,none"}), 2);
  EXPECT_EQ(status(add_inspect, {model_, "--stages", "2", "--quant", "int8,int8+head"}), 2) << "the head is tied";
  EXPECT_EQ(status(add_inspect, {model_, "--cuts", "9", "--quant", "none"}), 1) << "is about something else";
  EXPECT_EQ(status(add_plan, {config_, "--quant", "nf4,int8"}), 2);
  EXPECT_EQ(status(add_plan, {done, "--quant", "nf4"}), 2);
  EXPECT_EQ(status(add_eval, {done, "--text", config_, "--quant", "nf4,nf4"}), 2);
  EXPECT_EQ(status(add_quantise, {model_, "--quant", "none", "--out", out}), 2);
  EXPECT_EQ(status(add_quantise, {model_, "--quant", "int8,nf4", "--out", out}), 2);
  EXPECT_EQ(status(add_quantise, {done, "--quant", "int8", "--out", out}), 2);
  EXPECT_FALSE(std::filesystem::exists(out));
  environment_.set("QUANT", "int3");
  EXPECT_EQ(status(add_stage, {"--model", model_}), 2);
  environment_.unset("QUANT");
  EXPECT_EQ(status(add_stage, {"--model", model_, "--quant", "int8,nf4,none"}), 2);
}

/// The driver starts threads, which would take SIGTERM and end the stage at once.
TEST_F(ModelCommands, AStageBlocksTheSignalsThatEndItBeforeItAsksAGpusDriver) {
  sigset_t before, during;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  ASSERT_EQ(sigismember(&before, SIGTERM), 0);
  const CommandOutcome outcome = run_command(add_stage, {"--model", folder_.path("none.gguf"), "--device", "cuda"});
  pthread_sigmask(SIG_SETMASK, &before, &during);
  EXPECT_NE(outcome.status, 0);
  EXPECT_EQ(sigismember(&during, SIGTERM), 1);
  EXPECT_EQ(sigismember(&during, SIGINT), 1);
}

TEST_F(ModelCommands, QuantiseTakesTheOtherWayWhatOthersQuantised) {
  const std::string done = folder_.write("q8.gguf", testing::toy_gguf({.matrices = DType::kQ8_0}));
  EXPECT_EQ(run_command(add_quantise, {done, "--quant", "bf16", "--out", folder_.path("wide")}).status, 0);
  EXPECT_EQ(run_command(add_quantise, {model_, "--quant", "int8", "--out", folder_.path("own")}).status, 0);
  const std::string again = folder_.path("again");
  const CommandOutcome refused = run_command(add_quantise, {folder_.path("own"), "--quant", "bf16", "--out", again});
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("expand the model it was made from"), std::string::npos) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(again));
}

TEST_F(ModelCommands, InspectSaysWhatIsWrongWithAWish) {
  EXPECT_NE(run_command(add_inspect, {model_, "--cuts", "5"}).status, 0);
  EXPECT_NE(run_command(add_inspect, {model_, "--cuts", "x"}).problem, "");
  EXPECT_EQ(run_command(add_inspect, {model_, "--kv-tokens", "64", "--kv-memory", "1MB"}).status, 2);
  EXPECT_EQ(run_command(add_inspect, {model_, "--kv-dtype", "fp4"}).status, 2);
  const CommandOutcome none = run_command(add_inspect, {"no-such-model"});
  EXPECT_EQ(none.status, 1);
  EXPECT_NE(none.problem.find("no-such-model"), std::string::npos);
}

TEST_F(ModelCommands, ModelsTellsCacheFromCatalogue) {
  std::filesystem::create_directories(folder_.path("cache/models/toy"));
  std::filesystem::copy(model_, folder_.path("cache/models/toy/toy.gguf"));
  const Json list = parse_json(run_command(add_models, {"--json"}).out).value();
  ASSERT_GE(list.size(), 2u);
  EXPECT_EQ(list[0]["name"], "toy");
  EXPECT_EQ(list[0]["cached"], true);
  EXPECT_EQ(list[0]["bytes"], std::filesystem::file_size(model_));
  EXPECT_EQ(list[0]["pack_bytes"], 0);
  EXPECT_TRUE(list[1]["path"].is_null()) << "one that can be pulled";
  const std::string table = run_command(add_models, {}).out;
  EXPECT_NE(table.find("\ntoy "), std::string::npos) << table;
  EXPECT_NE(table.find("commissure pull\n"), std::string::npos) << table;
  expect_fits(table.substr(0, table.find("The cache is")), 80);
}

TEST_F(ModelCommands, ModelsRemovesWhatIsNamed) {
  std::filesystem::create_directories(folder_.path("cache/models/toy"));
  std::filesystem::copy(model_, folder_.path("cache/models/toy/toy.gguf"));
  EXPECT_NE(run_command(add_models, {"rm", "other"}).problem.find("other"), std::string::npos);
  EXPECT_TRUE(run_command(add_models, {"rm", "toy"}).out.starts_with("Removed toy: "));
  EXPECT_FALSE(std::filesystem::exists(folder_.path("cache/models/toy")));
}

TEST_F(ModelCommands, PullNamesTheHubWhereARepositoryIsMeant) {
  EXPECT_EQ(run_command(add_pull, {"acme/toy"}).problem,
            "no model is known as acme/toy; a repository of the hub is hf:acme/toy (commissure pull hf:acme/toy)");
  EXPECT_EQ(run_command(add_pull, {"http://127.0.0.1:1/folder/"}).problem, "http://127.0.0.1:1/folder/ names no file");
}

TEST_F(ModelCommands, InitWritesAFileThatUpReads) {
  const std::string file = folder_.path("commissure.yaml");
  const std::vector<std::string> flags = {"--yes", "--project", "acme", "--name",   "demo", "--model",
                                          config_, "--file",    file,   "--budget", "9.5"};
  const CommandOutcome written = run_command(add_init, flags);
  ASSERT_EQ(written.status, 0) << written.problem;
  EXPECT_EQ(written.out, "Wrote " + file + ". Next: commissure up\n");
  const auto read = parse_cloud_file(contents("commissure.yaml"), "", {});
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(read->spec.name, "demo");
  EXPECT_EQ(read->spec.project, "acme");
  EXPECT_EQ(read->spec.region, "europe-west4");
  EXPECT_EQ(read->model, config_);
  EXPECT_EQ(read->budget, 9.5);
  EXPECT_EQ(read->spec.stages.size(), read->spec.cuts.size() + 1);
  EXPECT_EQ(run_command(add_init, flags).problem, file + " is there already; --force writes it anew");
  EXPECT_EQ(
      run_command(add_init, {"--yes", "--force", "--project", "other", "--model", config_, "--file", file}).status, 0);
  EXPECT_EQ(parse_cloud_file(contents("commissure.yaml"), "", {})->spec.project, "other");
}

TEST_F(ModelCommands, InitRefusesWhatCannotBe) {
  const std::string file = folder_.path("commissure.yaml");
  EXPECT_EQ(run_command(add_init, {"--yes", "--model", config_, "--file", file}).problem,
            "no project: give --project or set GOOGLE_CLOUD_PROJECT");
  const CommandOutcome dear =
      run_command(add_init, {"--yes", "--project", "p", "--model", config_, "--file", file, "--budget", "0.001"});
  EXPECT_TRUE(dear.problem.starts_with("the cheapest chain, 1 x cpu-")) << dear.problem;
  EXPECT_NE(dear.problem.find("the budget is 0.00"), std::string::npos) << dear.problem;
  const std::string nowhere = folder_.path("none/commissure.yaml");
  EXPECT_EQ(run_command(add_init, {"--yes", "--project", "p", "--model", config_, "--file", nowhere}).problem,
            "cannot write " + nowhere);
  EXPECT_FALSE(std::filesystem::exists(file)) << "a file that is refused is not written";
}

TEST_F(ModelCommands, PlanIsATableThatFitsOrJson) {
  const CommandOutcome shown = run_command(add_plan, {config_, "--streams", "2", "--prompt", "100"});
  ASSERT_EQ(shown.status, 0) << shown.problem;
  EXPECT_NE(shown.out.find("6 layers"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("Alternatives, 2 streams of "), std::string::npos) << shown.out;
  const Json json = parse_json(run_command(add_plan, {config_, "--json"}).out).value();
  EXPECT_EQ(json["is_estimate"], true);
  EXPECT_EQ(json["plan"]["stages"][0]["layers"][0], 0);
  EXPECT_EQ(json["problems"], Json::array());
  EXPECT_NE(run_command(add_plan, {config_, "--machines", "cpu-3"}).problem.find("the catalogue has no machine cpu-3"),
            std::string::npos);
  EXPECT_EQ(run_command(add_plan, {config_, "--quota"}).problem,
            "--quota is about a file's stages: leave the model out, or add --config");
  EXPECT_EQ(
      run_command(add_plan, {"--file", folder_.path("none.yaml")}).problem,
      folder_.path("none.yaml") +
          " is not here: name a model, e.g. commissure plan smollm2-135m, or write the file with commissure init");
}

}  // namespace
}  // namespace commissure
