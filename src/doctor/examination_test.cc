#include "doctor/examination.h"
#include "support/text_lines.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace commissure {
namespace {

bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

/// A machine on which there is nothing to say.
Surroundings good_machine() {
  Surroundings here;
  here.machine = {.cpu = "Xeon", .memory_bytes = 32 * kGiB, .available_bytes = 30 * kGiB, .huge_pages = "madvise"};
  here.n_cpus = 8;
  here.isa = cpu::Isa::kAvx512;
  here.driver = Error(Code::kNotFound, "libcuda.so.1: cannot open shared object file");
  here.models = {.path = "/home/me/.cache/commissure", .free_bytes = 50 * kGiB};
  here.runs = {.path = "/run/user/1/commissure", .free_bytes = 5 * kGiB};
  here.gcloud_config = ProgramAnswer{.output = R"({"core": {"account": "me@example.com", "project": "p-1"}})"};
  return here;
}

const Finding& find(const std::vector<Finding>& findings, std::string_view topic) {
  const auto it =
      std::find_if(findings.begin(), findings.end(), [&](const auto& finding) { return finding.topic == topic; });
  EXPECT_NE(it, findings.end()) << topic;
  return it == findings.end() ? findings.front() : *it;
}

Finding examined(const Surroundings& here, std::string_view topic) {
  const std::vector<Finding> findings = examine(here);
  return find(findings, topic);
}

TEST(Examination, AGoodMachineHasNothingToMend) {
  const auto findings = examine(good_machine());
  for (const Finding& finding : findings) {
    EXPECT_LE(finding.severity, FindingSeverity::kNote) << finding.topic << ": " << finding.fact;
    EXPECT_EQ(finding.advice, "") << finding.topic;
  }
  EXPECT_TRUE(can_run_stage(findings));
  EXPECT_EQ(find(findings, "cpu").fact, "Xeon: kernels for avx512");
  EXPECT_EQ(find(findings, "gcloud").fact, "me@example.com, project p-1");
}

TEST(Examination, SaysWhatSlowKernelsAndFewCoresMean) {
  Surroundings here = good_machine();
  here.isa = cpu::Isa::kGeneric;
  here.n_cpus = 1;
  here.machine.huge_pages = "never";
  const auto findings = examine(here);
  EXPECT_EQ(find(findings, "cpu").severity, FindingSeverity::kWarning);
  EXPECT_TRUE(holds(find(findings, "cpu").advice, "AVX2"));
  EXPECT_EQ(find(findings, "cores").severity, FindingSeverity::kNote);
  EXPECT_TRUE(holds(find(findings, "huge pages").advice, "transparent_hugepage"));
  EXPECT_TRUE(can_run_stage(findings)) << "slow is not impossible";
}

TEST(Examination, NamesAmxWithoutTakingIt) {
  Surroundings here = good_machine();
  here.has_amx = true;
  EXPECT_EQ(examined(here, "cpu").fact, "Xeon: kernels for avx512; it has AMX too, which COMMISSURE_ISA=amx takes");
}

TEST(Examination, MemoryIsJudgedByWhatTheContainerGrants) {
  Surroundings here = good_machine();
  here.machine.memory_limit = kGiB;
  EXPECT_EQ(examined(here, "memory").severity, FindingSeverity::kNote);
  here.machine.memory_limit = kGiB / 8;
  const auto findings = examine(here);
  EXPECT_EQ(find(findings, "memory").severity, FindingSeverity::kFailure);
  EXPECT_TRUE(holds(find(findings, "memory").advice, "container's limit"));
  EXPECT_FALSE(can_run_stage(findings));
  here.machine = {};
  EXPECT_EQ(examined(here, "memory").severity, FindingSeverity::kNote) << "not known is no failure";
}

TEST(Examination, AFolderThatCannotBeTrustedIsAFailure) {
  Surroundings here = good_machine();
  here.runs.trust = Error(Code::kPermissionDenied, "/tmp/commissure-1000 belongs to user 7");
  const auto findings = examine(here);
  EXPECT_EQ(find(findings, "runs").fact, "/tmp/commissure-1000 belongs to user 7");
  EXPECT_TRUE(holds(find(findings, "runs").advice, "COMMISSURE_RUN_DIR"));
  EXPECT_FALSE(can_run_stage(findings));
}

TEST(Examination, ADiskWithoutRoomIsAWarning) {
  Surroundings here = good_machine();
  here.models.free_bytes = kGiB / 2;
  EXPECT_EQ(examined(here, "models").severity, FindingSeverity::kWarning);
  EXPECT_TRUE(holds(examined(here, "models").advice, "COMMISSURE_CACHE"));
}

TEST(Examination, DescribesDriverAndCardsAndWhetherThereAreKernelsForThem) {
  Surroundings here = good_machine();
  NvidiaDriver driver{.library = "libcuda.so.1", .cuda_version = 12020};
  driver.cards.push_back(
      {.name = "NVIDIA L4", .major = 8, .minor = 9, .memory_bytes = 24 * kGiB, .free_bytes = 20 * kGiB});
  driver.cards.push_back({.name = "Old", .major = 7, .minor = 0, .memory_bytes = 16 * kGiB, .free_bytes = {}});
  here.driver = driver;
  const auto findings = examine(here);
  EXPECT_EQ(find(findings, "gpu driver").fact, "libcuda.so.1 up to CUDA 12.2, cards: 2");
  EXPECT_EQ(find(findings, "gpu").fact, "NVIDIA L4, sm_89, 21.5 GB of 25.8 GB free");
  EXPECT_TRUE(holds(find(findings, "gpu").advice, "CPU"));
  EXPECT_TRUE(can_run_stage(findings));

  const Json json = examination_json(here, findings);
  EXPECT_EQ(json["cards"].size(), 2u);
  EXPECT_EQ(json["cards"][0]["architecture"], "sm_89");
  EXPECT_EQ(json["cards"][0]["has_kernels"], false);
  here.gpu_kernels = {80, 120};
  EXPECT_TRUE(holds(examined(here, "gpu").advice, "--device cuda"));
  EXPECT_EQ(examination_json(here, findings)["cards"][0]["has_kernels"], true);
  EXPECT_EQ(examination_json(here, findings)["cards"][1]["has_kernels"], false);
  EXPECT_TRUE(json["cards"][1]["free_bytes"].is_null());
  EXPECT_EQ(json["can_run"], true);
}

TEST(Examination, SendsStagesToTheFirstCardOfADriverThatIsNewEnough) {
  Surroundings here = good_machine();
  here.gpu_kernels = {80, 120};
  const NvidiaCard card = {.name = "NVIDIA L4", .major = 8, .minor = 9, .memory_bytes = 24 * kGiB};
  here.driver = NvidiaDriver{.library = "libcuda.so.1", .cuda_version = 12000, .cards = {card, card}};
  const auto advice_on_cards = [&] {
    std::vector<std::string> advice;
    for (const Finding& finding : examine(here)) {
      if (finding.topic == "gpu") advice.push_back(finding.advice);
    }
    return advice;
  };
  EXPECT_TRUE(holds(advice_on_cards().at(0), "`--device cuda` computes on it"));
  EXPECT_TRUE(holds(advice_on_cards().at(1), "no stage computes on it"));
  here.driver->cuda_version = 11040;  // driver 470
  EXPECT_TRUE(holds(examined(here, "gpu driver").advice, "newer driver"));
  EXPECT_TRUE(holds(advice_on_cards().at(0), "too old: stages compute on the CPU"));
}

TEST(Examination, ADriverThatDoesNotAnswerIsANote) {
  Surroundings here = good_machine();
  here.driver = Error(Code::kUnavailable, "cuInit: CUDA_ERROR_NO_DEVICE (100)");
  EXPECT_EQ(examined(here, "gpu").severity, FindingSeverity::kNote);
  EXPECT_TRUE(holds(examined(here, "gpu").fact, "CUDA_ERROR_NO_DEVICE"));
  EXPECT_EQ(examination_json(here, examine(here))["cards"].size(), 0u);
}

TEST(Examination, SaysWhatGcloudLacksAndWhoNeedsIt) {
  Surroundings here = good_machine();
  here.gcloud_config = Error(Code::kNotFound, "gcloud is not installed");
  EXPECT_EQ(examined(here, "gcloud").severity, FindingSeverity::kNote);
  EXPECT_TRUE(holds(examined(here, "gcloud").advice, "without --local"));
  here.gcloud_config = ProgramAnswer{.status = 1, .output = "", .errors = "ERROR: (gcloud.config.list) broken\n"};
  EXPECT_TRUE(holds(examined(here, "gcloud").fact, "broken"));
  for (const char* nobody : {"{}", "not json", R"({"core": {"account": null}})", R"({"core": {"account": 7}})"}) {
    here.gcloud_config = ProgramAnswer{.output = nobody};
    EXPECT_TRUE(holds(examined(here, "gcloud").advice, "gcloud auth login")) << nobody;
  }
  here.gcloud_config = ProgramAnswer{.output = R"({"core": {"account": "me@example.com"}})"};
  EXPECT_TRUE(holds(examined(here, "gcloud").fact, "commissure.yaml"));
}

TEST(Examination, TheTextFitsItsColumnsAndEndsWithTheVerdict) {
  Surroundings here = good_machine();
  here.models.trust =
      Error(Code::kPermissionDenied, "cannot write to /a/folder/whose/name/is/long/enough/to/need/a/second/line");
  here.machine.huge_pages = "never";
  const std::string text = examination_text(examine(here), 80);
  for (const std::string_view line : testing::lines_of(text)) EXPECT_LE(line.size(), 80u) << line;
  EXPECT_TRUE(holds(text, "failure  models      cannot write to"));
  EXPECT_TRUE(holds(text, "No stage can run here"));
  EXPECT_TRUE(holds(examination_text(examine(good_machine()), 0), "A stage can run here.\n"));
}

TEST(Examination, ThisMachineCanBeLookedAt) {
  const Surroundings here = look_around();
  EXPECT_GE(here.n_cpus, 1);
  EXPECT_GT(here.machine.memory_bytes, 0u);
  EXPECT_FALSE(examine(here).empty());
}

}  // namespace
}  // namespace commissure
