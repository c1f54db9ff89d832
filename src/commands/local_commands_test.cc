#include <gtest/gtest.h>
#include <unistd.h>

#include "core/json.h"
#include "local/local_state.h"
#include "support/command_run.h"
#include "support/environment_guard.h"
#include "support/temp_folder.h"
#include "support/text_lines.h"
#include "terminal/subprocess.h"

namespace commissure {
namespace {

using testing::CommandOutcome;
using testing::run_command;

/// `status`, `logs` and `down` beside a run folder of the test's own.
class LocalCommands : public ::testing::Test {
 protected:
  LocalCommands() {
    environment_.set("COMMISSURE_RUN_DIR", folder_.path());
    environment_.unset("COMMISSURE_URL");
  }

  /// A chain whose first stage is this process and whose second one is gone; nothing listens at its port.
  LocalState chain() {
    LocalState state;
    state.chain = {.name = "local",
                   .model = "/m.gguf",
                   .model_name = "toy",
                   .cuts = {4},
                   .n_layers = 9,
                   .port = 1,
                   .stage_flags = {}};
    state.supervisor = {getpid(), process_start_time(getpid()).value()};
    state.stages = {{.name = "a", .process = state.supervisor, .log = folder_.path("local/a.log")},
                    {.name = "b",
                     .process = {},
                     .log = folder_.path("local/b.log"),
                     .deaths = 2,
                     .last_death = "was killed by signal 9"}};
    return state;
  }
  void put(const LocalState& state) {
    std::filesystem::create_directories(local_dir("local"));
    ASSERT_TRUE(write_local_state(state));
  }
  Json status_json() { return parse_json(run_command(add_status, {"--json"}).out).value(); }

  testing::TempFolder folder_;
  testing::EnvironmentGuard environment_;
};

TEST_F(LocalCommands, SayThatNothingRuns) {
  const CommandOutcome status = run_command(add_status, {});
  EXPECT_EQ(status.status, 3);
  EXPECT_EQ(status.out, "Nothing is running. Start with: commissure up --local\n");
  EXPECT_EQ(status_json(), (Json{{"running", false}}));
  EXPECT_EQ(run_command(add_down, {}).out, "Nothing is running.\n");
  EXPECT_EQ(run_command(add_logs, {}).problem, "nothing is running here; start it with: commissure up --local");
}

TEST_F(LocalCommands, StatusKnowsADeadStageByItself) {
  put(chain());
  const CommandOutcome shown = run_command(add_status, {});
  EXPECT_EQ(shown.status, 1);
  EXPECT_NE(shown.out.find("toy  http://127.0.0.1:1  NOT HEALTHY\n"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("b      4-8      dead"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("was killed by signal 9; it is started again"), std::string::npos) << shown.out;
  const Json report = status_json();
  EXPECT_EQ(report["healthy"], false);
  EXPECT_EQ(report["stages"][0]["alive"], true);
  EXPECT_EQ(report["stages"][0]["problem"], "alive; the stage before it has not reached it");
  EXPECT_EQ(report["stages"][1]["layers"], (Json{4, 9}));
  EXPECT_EQ(report["stages"][1]["deaths"], 2);
  EXPECT_FALSE(report.contains("advice")) << "nothing is left to a person";
}

TEST_F(LocalCommands, StatusSaysWhatIsLeftToAPerson) {
  LocalState state = chain();
  state.stages[1].given_up = true;
  put(state);
  Json report = status_json();
  EXPECT_EQ(report["stages"][1]["state"], "given up");
  EXPECT_EQ(report["stages"][1]["problem"], "it died 2 times and is not started again: was killed by signal 9");
  EXPECT_EQ(report["advice"], "To start dead stages again: commissure up --local --detach");
  state.supervisor = {};
  put(state);
  report = status_json();
  EXPECT_EQ(report["supervisor"]["alive"], false);
  EXPECT_EQ(report["advice"],
            "The chain's supervisor ended, so dead stages stay dead; a new one: commissure up --local --detach");
}

TEST_F(LocalCommands, StatusFitsEightyColumns) {
  put(chain());
  const std::string out = run_command(add_status, {}).out;
  std::size_t n_table = 0;
  for (const std::string_view line : testing::lines_of(out)) {
    if (line.starts_with("STAGE") || line.starts_with("a ") || line.starts_with("b ")) {
      EXPECT_LE(line.size(), 80u) << line;
      ++n_table;
    }
  }
  EXPECT_EQ(n_table, 3u) << out;
}

TEST_F(LocalCommands, LogsAreTheLastLinesOfEveryStage) {
  put(chain());
  folder_.write("local/a.log", "one\ntwo\nthree\n");
  folder_.write("local/b.log", "four\nfive\nnot yet who");
  EXPECT_EQ(run_command(add_logs, {"-n", "2"}).out, "a | two\na | three\nb | four\nb | five\n");
  EXPECT_EQ(run_command(add_logs, {"--stage", "a"}).out, "one\ntwo\nthree\n");
  EXPECT_EQ(run_command(add_logs, {"--stage", "b", "-n", "1"}).out, "five\n")
      << "a line that has not ended is none yet";
  EXPECT_EQ(run_command(add_logs, {"-n", "0"}).out, "");
  EXPECT_EQ(run_command(add_logs, {"--stage", "c"}).problem, "there is no stage c; the last one is b");
}

TEST_F(LocalCommands, DownNamesTheChainItStopped) {
  LocalState state = chain();
  state.supervisor = state.stages[0].process = {};
  put(state);
  const CommandOutcome down = run_command(add_down, {});
  EXPECT_EQ(down.status, 0) << down.problem;
  EXPECT_EQ(down.out, "Stopped 2 stages of the chain local (toy at http://127.0.0.1:1).\n");
  EXPECT_EQ(run_command(add_status, {}).status, 3) << "it is gone";
}

TEST_F(LocalCommands, UpRefusesFlagsOfALocalChainForADeployment) {
  const std::string file = folder_.write("commissure.yaml", "not read before");
  for (const char* flag : {"--isa=avx2", "--max-num-partial-prefills=2", "--allowed-hosts=a.example", "--sanitize"}) {
    const std::string name(std::string_view(flag).substr(0, std::string_view(flag).find('=')));
    const CommandOutcome refused = run_command(add_up, {"--file", file, flag});
    EXPECT_EQ(refused.status, 1);
    EXPECT_TRUE(refused.problem.starts_with(name + " is for a chain on this machine")) << refused.problem;
  }
}

TEST_F(LocalCommands, FlagsThatContradictEachOtherAreRefused) {
  EXPECT_EQ(run_command(add_status, {"--local", "--cloud"}).status, 2);
  EXPECT_EQ(run_command(add_down, {"--cloud", "--name", "x"}).status, 2);
  EXPECT_EQ(run_command(add_ask, {"hi", "--url", "http://a.example", "--name", "x"}).status, 2);
  EXPECT_EQ(run_command(add_ask, {"hi", "--temperature", "3"}).status, 2);
  EXPECT_EQ(run_command(add_ask, {"hi", "--max-tokens", "0"}).status, 2);
}

}  // namespace
}  // namespace commissure
