#include "plan/plan_report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "plan/plan_plot.h"
#include "support/temp_folder.h"
#include "support/text_lines.h"
#include "support/toy_model.h"
#include "weights/model_writer.h"

namespace commissure {
namespace {

/// Plans of a config.json, as `commissure plan` makes them.
class Plans : public ::testing::Test {
 protected:
  Planning make(PlanOptions options = {}) {
    if (options.model.empty() && !options.file) options.model = config_;
    auto planning = make_plans(options);
    EXPECT_TRUE(planning.has_value()) << planning.error().message();
    return std::move(*planning);
  }
  std::string problem_of(PlanOptions options) {
    options.model = config_;
    const auto planning = make_plans(options);
    return planning ? "" : planning.error().message();
  }
  /// A deployment of the model; `more` are lines of its file.
  CloudFile file(const std::string& more) {
    auto parsed =
        parse_cloud_file("name: demo\nproject: acme\nregion: europe-west4\nmodel: " + config_ + "\n" + more, "", {});
    EXPECT_TRUE(parsed.has_value()) << parsed.error().message();
    return *parsed;
  }

  const testing::TempFolder folder_;
  const std::string config_ = folder_.write("config.json", testing::toy_config({.n_layers = 6}));
};

/// The lines of a text that belong to its tables: all but what a person reads as a sentence.
std::vector<std::string> table_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (const std::string_view line : testing::lines_of(text)) {
    if (!line.starts_with("  no: ")) lines.emplace_back(line);
  }
  return lines;
}

TEST_F(Plans, ArePrintedWithinEightyColumns) {
  PlanOptions options;
  options.wish = {.context = 1024, .streams = 64, .prompt = 512};
  Planning planning = make(options);
  for (const Alternative& other : planning.found) EXPECT_LE(other.machine.size(), 14u);
  // Numbers as large as they come: a model of 400 GB on the dearest machines.
  planning.wish.streams = 64;
  for (Alternative& other : planning.found) {
    other.plan.usd_per_hour = 99.99;
    other.plan.cold_start_seconds = 9999;
    other.plan.first_token_seconds = 999.99;
    other.plan.usd_per_million = 9999.99;
    for (PlannedStage& stage : other.plan.stages) stage.weight_bytes = 400e9;
  }
  for (const std::string& line : table_lines(plans_text(planning))) EXPECT_LE(line.size(), 80u) << line;
}

TEST_F(Plans, CoverTheModelAndAreSortedByPrice) {
  const Planning planning = make();
  ASSERT_GE(planning.found.size(), 2u);
  EXPECT_TRUE(std::ranges::is_sorted(planning.found, {}, [](const Alternative& a) { return a.plan.usd_per_hour; }));
  for (const auto& [machine, plan] : planning.found) {
    int next = 0;
    for (const PlannedStage& stage : plan.stages) {
      EXPECT_EQ(stage.layers.first, next) << machine;
      next = stage.layers.last;
    }
    EXPECT_EQ(next, 6) << machine;
  }
  EXPECT_EQ(planning.chosen().weights, "BF16") << "as it is stored, though fewer bits are cheaper";
}

TEST_F(Plans, TellProgramsTheSameNumbers) {
  const Planning planning = make();
  const Json json = plans_json(planning);
  EXPECT_EQ(json["is_estimate"], true);
  EXPECT_EQ(json["kv_dtype"], "bf16");
  EXPECT_EQ(json["alternatives"].size(), planning.found.size());
  const Json& plan = json["plan"];
  EXPECT_EQ(plan["stages"].size(), planning.chosen().stages.size());
  EXPECT_EQ(plan["stages"][0]["stage"], "a");
  EXPECT_DOUBLE_EQ(plan["usd_per_month_always_on"], planning.chosen().usd_per_hour * 730);
  for (const Json& stage : plan["stages"]) EXPECT_LE(stage["needed_bytes"], stage["usable_bytes"]);
}

TEST_F(Plans, SayWhatTheFilesChainLacks) {
  PlanOptions options;
  options.file = file("stages: {count: 2, cpu: 1, memory: 512Mi}\ncuts: [3]\nbudget: 0.01\ncontext: 256\n");
  options.wish = {.context = 0, .streams = 0, .tokens_per_second = 1e9};
  const Planning planning = make(options);
  ASSERT_TRUE(planning.file.has_value());
  EXPECT_EQ(planning.file->title, "commissure.yaml: demo in europe-west4, 2 stages");
  EXPECT_EQ(planning.chosen().cuts(), (std::vector<int>{3}));
  std::string problems;
  for (const std::string& problem : planning.file->problems) problems += problem + "\n";
  EXPECT_NE(problems.find("tokens a second, not 1e+09\n"), std::string::npos) << problems;
  EXPECT_NE(problems.find("the budget is 0.01\n"), std::string::npos) << problems;
  EXPECT_EQ(plans_json(planning)["problems"].size(), planning.file->problems.size());
  const std::string text = plans_text(planning);
  EXPECT_NE(text.find("\ncuts: [3]\n"), std::string::npos) << text;
  EXPECT_NE(text.find("as the file says"), std::string::npos) << text;
}

TEST_F(Plans, TakeTheFilesStreamsAndContextUnlessTold) {
  PlanOptions options;
  options.file = file("context: 512\nstreams: 3\nstages: 1\nkv_dtype: int8\n");
  options.wish.context = options.wish.streams = 0;
  Planning planning = make(options);
  EXPECT_EQ(planning.wish.context, 512);
  EXPECT_EQ(planning.wish.streams, 3);
  EXPECT_EQ(planning.kv_type, KvType::kInt8);
  options.wish.streams = 7;
  options.kv_dtype = "bf16";
  planning = make(options);
  EXPECT_EQ(planning.wish.streams, 7);
  EXPECT_EQ(planning.kv_type, KvType::kBF16);
}

TEST_F(Plans, NameWhatThereIsNot) {
  PlanOptions options;
  options.machines = {"cpu-3"};
  EXPECT_TRUE(problem_of(options).starts_with("the catalogue has no machine cpu-3; there are: "))
      << problem_of(options);
  options.machines = {"rtx-pro-6000"};
  options.region = "europe-west1";
  EXPECT_EQ(problem_of(options), "rtx-pro-6000 is not offered in europe-west1");
  options = {};
  options.catalogue = folder_.path("none.yaml");
  EXPECT_EQ(problem_of(options), "cannot read " + options.catalogue);
  options.catalogue = folder_.write("broken.yaml", "machines: 3\n");
  EXPECT_TRUE(problem_of(options).starts_with(options.catalogue + ": catalogue, line ")) << problem_of(options);
  options = {};
  options.layer_times = {folder_.write("times.json", "{}")};
  EXPECT_EQ(problem_of(options), options.layer_times[0] + ": format must be a text");
  options = {};
  options.kv_dtype = "fp4";
  EXPECT_NE(problem_of(options), "");
}

TEST_F(Plans, AlternativesAreOfTheDeviceThatIsAskedFor) {
  PlanOptions options;
  const auto has_gpu = [&](const std::string& device) {
    options.device = device;
    const Planning planning = make(options);
    bool any = false, all = true;
    for (const Alternative& each : planning.found) {
      for (const PlannedStage& stage : each.plan.stages) {
        any |= !stage.machine->gpu.empty();
        all &= !stage.machine->gpu.empty();
      }
    }
    return std::pair(any, all);
  };
  EXPECT_EQ(has_gpu("cpu"), std::pair(false, false));
  EXPECT_EQ(has_gpu("cuda"), std::pair(true, true));
  EXPECT_EQ(has_gpu("auto"), std::pair(true, false));
  options.machines = {"cpu-4"};
  options.device = "cuda";
  EXPECT_TRUE(problem_of(options).starts_with("no machine is left for --device cuda; the catalogue has: "));
}

TEST_F(Plans, AFilesWeightsAreOnesThatThereAre) {
  PlanOptions options;
  options.file = file("stages: 1\n");
  options.weights = "Q2";
  EXPECT_EQ(make_plans(options).error().message(), "--weights is Q2; there are: BF16, Q8_0, Q4_K_M");
  options.weights = "Q8_0";
  EXPECT_EQ(make(options).chosen().weights, "Q8_0");
}

/// Why a config.json with these fields cannot be planned with `quant`.
std::string quant_problem(const testing::TempFolder& folder, const Json& fields, const std::string& quant) {
  Json config = parse_json(testing::toy_config({.n_layers = 6})).value();
  for (const auto& [key, value] : fields.items()) config[key] = value;
  PlanOptions options;
  options.model = folder.write("config.json", dump_json(config));
  options.quant = quant;
  const auto planning = make_plans(options);
  return planning ? "" : planning.error().message();
}

TEST_F(Plans, RefuseToQuantiseWhatStagesRefuse) {
  const Json experts = {{"model_type", "qwen3_moe"},
                        {"num_experts", 4},
                        {"num_experts_per_tok", 2},
                        {"moe_intermediate_size", 32},
                        {"norm_topk_prob", true}};
  const Json fused = {{"model_type", "phi3"}, {"original_max_position_embeddings", 4096}};
  for (const Json& fields : {experts, fused}) EXPECT_EQ(quant_problem(folder_, fields, "none"), "");
  EXPECT_NE(quant_problem(folder_, experts, "int8").find("belongs to experts"), std::string::npos);
  EXPECT_NE(quant_problem(folder_, fused, "nf4").find("holds several matrices"), std::string::npos);
}

TEST_F(Plans, AModelIsQuantisedWhereALayerIs) {
  const testing::TempFolder source;
  source.write("config.json", testing::toy_config({}));
  source.write("model.safetensors", testing::toy_safetensors({}));
  const std::unique_ptr<Checkpoint> checkpoint = Checkpoint::open(source.path()).value();
  checkpoint->quantise("model.layers.3.mlp.up_proj.weight", DType::kQ8_0);
  ASSERT_TRUE(write_model(*checkpoint, folder_.path("partly"), {}).has_value());
  PlanOptions options;
  options.model = folder_.path("partly");
  EXPECT_EQ(make(options).model.footprint.weights, "F32") << "by most of its bytes";
  options.quant = "int8";
  const auto planning = make_plans(options);
  ASSERT_FALSE(planning.has_value());
  EXPECT_NE(planning.error().message().find("quantised already (model.layers.3"), std::string::npos)
      << planning.error().message();
}

TEST_F(Plans, ATiedHeadIsQuantisedInTheFirstStageAndTheLast) {
  PlanOptions options;
  options.file = file("cuts: [3]\nstages: [{quant: int8}, {quant: int8+head}]\n");
  const auto planning = make_plans(options);
  ASSERT_FALSE(planning.has_value());
  EXPECT_NE(planning.error().message().find("both must be +head"), std::string::npos) << planning.error().message();
  options.file = file("cuts: [3]\nstages: [{quant: nf4+head}, {quant: nf4+head}]\n");
  EXPECT_TRUE(make_plans(options).has_value());
}

TEST_F(Plans, ArePicturesWithACurveForEachAlternative) {
  const Planning planning = make();
  const std::string svg = plan_svg(planning);
  EXPECT_NE(svg.find("Memory of each stage"), std::string::npos);
  EXPECT_NE(svg.find("USD a month"), std::string::npos);
  EXPECT_NE(svg.find("1 x " + planning.found.front().machine), std::string::npos) << svg;
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

}  // namespace
}  // namespace commissure
