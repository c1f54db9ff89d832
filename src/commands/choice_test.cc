#include "commands/choice.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "support/environment_guard.h"
#include "support/temp_folder.h"
#include "terminal/subprocess.h"

namespace commissure {
namespace {

/// Chains in a run folder of the test's own, and no variable that names an endpoint.
class Choice : public ::testing::Test {
 protected:
  Choice() {
    environment_.set("COMMISSURE_RUN_DIR", folder_.path());
    for (const char* name : {"COMMISSURE_URL", "COMMISSURE_API_KEY", "COMMISSURE_IDENTITY_TOKEN"})
      environment_.unset(name);
    cloud_.file = folder_.path("commissure.yaml");
  }

  /// A chain of two stages, neither of which lives.
  LocalState chain(const std::string& name, int port = 8080) {
    LocalState state;
    state.chain = {.name = name,
                   .model = "/m.gguf",
                   .model_name = "m",
                   .cuts = {4},
                   .n_layers = 9,
                   .port = port,
                   .stage_flags = {}};
    state.stages = {{.name = "a"}, {.name = "b"}};
    return state;
  }
  void put(const LocalState& state) {
    std::filesystem::create_directories(local_dir(state.chain.name));
    ASSERT_TRUE(write_local_state(state));
  }
  std::string problem_of(const LocalChoice& local) {
    const auto found = choose_local(local, cloud_);
    return found ? "" : found.error().message();
  }

  ApiChoice api(const std::string& url = "", LocalChoice local = {}) const { return {url, cloud_, std::move(local)}; }

  testing::TempFolder folder_;
  testing::EnvironmentGuard environment_;
  CloudChoice cloud_;
};

TEST_F(Choice, IsNothingWhereNothingIs) {
  EXPECT_EQ(choose_local({}, cloud_).value(), std::nullopt);
  EXPECT_EQ(problem_of({.is_local = true}), "no chain runs on this machine; start it with: commissure up --local");
  EXPECT_EQ(problem_of({.name = "two"}),
            "no chain of the name two runs on this machine; start it with: commissure up --local");
  EXPECT_EQ(find_api(api()).error().message(),
            "nothing is running here; start it with: commissure up --local --detach (or name an endpoint with --url)");
}

TEST_F(Choice, IsTheOnlyChainOrTheOneThatIsNamed) {
  put(chain("one", 8081));
  EXPECT_EQ(choose_local({}, cloud_).value()->chain.name, "one");
  put(chain("two", 8082));
  EXPECT_EQ(problem_of({}),
            "several chains are here: one (m at http://127.0.0.1:8081), two (m at "
            "http://127.0.0.1:8082); say which with --name");
  EXPECT_EQ(choose_local({.name = "two"}, cloud_).value()->chain.port, 8082);
  EXPECT_FALSE(choose_local({.name = "../two"}, cloud_).has_value()) << "a name is no path";
}

TEST_F(Choice, RefusesToGuessBetweenAChainAndADeployment) {
  put(chain("local"));
  folder_.write("commissure.yaml", "model: m\n");
  EXPECT_EQ(problem_of({}),
            "both are here: the chain local on this machine (m at http://127.0.0.1:8080) and the "
            "deployment in " +
                cloud_.file + "; say which one with --local or --cloud");
  EXPECT_EQ(choose_local({.is_local = true}, cloud_).value()->chain.name, "local");
  EXPECT_EQ(choose_local({.is_cloud = true}, cloud_).value(), std::nullopt);
  cloud_.is_named = true;
  EXPECT_EQ(choose_local({}, cloud_).value(), std::nullopt) << "--file means the deployment";
}

TEST_F(Choice, SaysThatADeploymentIsMeant) {
  folder_.write("commissure.yaml", "model: m\n");
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(choose_local({}, cloud_).value(), std::nullopt);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "the deployment in " + cloud_.file + " is meant\n");
}

TEST_F(Choice, TakesTheUrlBeforeTheVariableAndThatBeforeAChain) {
  put(chain("local"));
  environment_.set("COMMISSURE_API_KEY", "k");
  EXPECT_EQ(find_api(api())->url, "http://127.0.0.1:8080");
  EXPECT_EQ(find_api(api())->api_key, "k");
  environment_.set("COMMISSURE_URL", "https://b.example//");
  EXPECT_EQ(find_api(api())->url, "https://b.example");
  EXPECT_EQ(find_api(api("", {.is_local = true}))->url, "http://127.0.0.1:8080")
      << "--local is said, the variable only set";
  EXPECT_EQ(find_api(api("http://a.example/"))->url, "http://a.example");
}

TEST_F(Choice, AWatchEndsWhereNobodyStartsAStageAgain) {
  LocalState state = chain("local");
  state.supervisor = {getpid(), process_start_time(getpid()).value()};
  state.stages[1].last_death = "was killed by signal 9";
  put(state);
  EXPECT_TRUE(processes_of(state).check_alive()) << "the supervisor does";
  EXPECT_EQ(processes_of(state).n_stages, 2u);
  state.stages[1].given_up = true;
  put(state);
  EXPECT_EQ(processes_of(state).check_alive().error().message(),
            "stage b was killed by signal 9, and nobody starts it again; `commissure up --local` does (whole log: "
            "commissure logs --stage b)");
  state.stages[1].given_up = false;
  state.stages[1].deaths = 1;
  put(state);
  EXPECT_TRUE(processes_of(state).check_alive());
  EXPECT_EQ(processes_of(state, true).check_alive().error().message(), "stage b was killed by signal 9")
      << "a new chain's first death ends the wait";
  std::filesystem::remove_all(local_dir("local"));
  EXPECT_EQ(processes_of(state).check_alive().error().message(), "the chain local was taken down");
}

}  // namespace
}  // namespace commissure
