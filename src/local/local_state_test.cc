#include "local/local_state.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

LocalState example() {
  LocalState state;
  state.chain = {.name = "two",
                 .model = "/models/m.gguf",
                 .model_name = "m",
                 .cuts = {10, 20},
                 .n_layers = 30,
                 .host = "::",
                 .port = 9000,
                 .stage_flags = {"--isa", "avx2"},
                 .restarts = false};
  state.supervisor = {17, 1234};
  state.started = true;
  state.stages = {{.name = "a", .process = {18, 1235}, .log = "/run/a.log"},
                  {.name = "b",
                   .process = {19, 1236},
                   .log = "/run/b.log",
                   .deaths = 6,
                   .last_death = "killed by 9",
                   .given_up = true},
                  {.name = "c", .process = {20, 1237}, .log = "/run/c.log"}};
  return state;
}

TEST(LocalState, ComesBackFromItsFileAsItWas) {
  const Json written = local_state_json(example());
  const auto read = parse_local_state(dump_json(written));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(local_state_json(*read), written);
  EXPECT_EQ(read->stages[1].last_death, "killed by 9");
  EXPECT_TRUE(read->stages[1].given_up);
}

TEST(LocalState, KnowsTheLayersOfEveryStage) {
  const LocalChainOptions chain = example().chain;
  EXPECT_EQ(chain.layers(0), std::pair(0, 10));
  EXPECT_EQ(chain.layers(1), std::pair(10, 20));
  EXPECT_EQ(chain.layers(2), std::pair(20, 30));
}

TEST(LocalState, SaysWhereThisMachineReachesIt) {
  LocalChainOptions chain = example().chain;
  EXPECT_EQ(chain.url(), "http://[::1]:9000");
  chain.host = "0.0.0.0";
  EXPECT_EQ(chain.url(), "http://127.0.0.1:9000");
  chain.host = "192.0.2.7";
  EXPECT_EQ(chain.url(), "http://192.0.2.7:9000");
}

TEST(LocalState, RefusesWhatIsMissingOrOutOfRange) {
  Json broken = local_state_json(example());
  for (const char* key : {"stages", "port", "cuts", "supervisor", "stage_flags", "n_layers"}) {
    Json without = broken;
    without.erase(key);
    EXPECT_FALSE(parse_local_state(dump_json(without))) << key;
  }
  broken["port"] = 99999999999;
  EXPECT_FALSE(parse_local_state(dump_json(broken)));
  broken["port"] = 9000;
  broken["cuts"] = {10};
  EXPECT_FALSE(parse_local_state(dump_json(broken))) << "one stage too many";
  for (const char* text : {"", "{", "null", "[]", "{\"model\":1}"}) EXPECT_FALSE(parse_local_state(text)) << text;
}

TEST(LocalState, RefusesNumbersThatNoChainHas) {
  const Json good = local_state_json(example());
  const auto is_refused = [](const Json& state) {
    const auto read = parse_local_state(dump_json(state));
    return !read && read.error().code() == Code::kDataLoss;
  };
  for (const Json& cuts :
       {Json{20, 10}, Json{10, 10}, Json{0, 10}, Json{10, 30}, Json{10, 1e300}, Json{-1, 10}, Json{10, 4294967316}}) {
    Json broken = good;
    broken["cuts"] = cuts;
    EXPECT_TRUE(is_refused(broken)) << cuts;
  }
  for (const Json& pid : {Json(1e300), Json(-1), Json(4294967313), Json(1.5), Json(true), Json("17")}) {
    Json broken = good;
    broken["supervisor"]["pid"] = pid;
    EXPECT_TRUE(is_refused(broken)) << pid;
  }
  Json broken = good;
  broken["stages"][1]["start_time"] = -1;
  EXPECT_TRUE(is_refused(broken));
  EXPECT_FALSE(is_refused(good));
}

TEST(ChainName, IsAFolderNameAndNothingElse) {
  for (const char* good : {"local", "a", "My_chain-2"}) EXPECT_TRUE(check_chain_name(good)) << good;
  for (const char* bad : {"", ".", "..", "a/b", "a.lock", "a b", "much-too-long-for-a-socket"})
    EXPECT_FALSE(check_chain_name(bad)) << bad;
}

TEST(ProcessId, OfNobodyIsNotAlive) {
  for (const int pid : {0, -1, 1 << 30}) EXPECT_FALSE(is_alive(ProcessId{pid, 1})) << pid;
}

}  // namespace
}  // namespace commissure
