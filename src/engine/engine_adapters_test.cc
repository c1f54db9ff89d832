#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "support/engine_test_support.h"
#include "support/temp_folder.h"

namespace commissure {
namespace {

/// Adapters whose id follows from their path, as if that were their content.
EngineOptions adapter_options(std::vector<std::string> names, std::uint64_t most_bytes = 1000) {
  EngineOptions options = small_options();
  options.adapters.identify = [](const std::string& path) -> Result<AdapterId> {
    if (path.starts_with("absent")) return Error(Code::kNotFound, path, " is not there");
    return AdapterId(std::hash<std::string>()(path) | 1);
  };
  options.adapters.most_bytes = most_bytes;
  for (const std::string& name : names) options.adapters.known.push_back({{}, name, "of " + name});
  return options;
}

AdapterId id_of(const std::string& name) { return AdapterId(std::hash<std::string>()("of " + name) | 1); }

GenerationRequest with(GenerationRequest request, const std::string& adapter, float scale = 1.0f) {
  request.adapter = adapter;
  request.adapter_scale = scale;
  return request;
}

/// The same requests under two adapters and under none.
std::vector<GenerationRequest> mixed(int n) {
  std::vector<GenerationRequest> requests = mixed_requests(n);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (i % 3 < 2) requests[i] = with(requests[i], i % 3 == 0 ? "a" : "b", i % 2 == 0 ? 1.0f : 0.5f);
  }
  return requests;
}

std::vector<Answer> answers_alone(const std::vector<GenerationRequest>& requests) {
  std::vector<Answer> answers;
  for (const GenerationRequest& request : requests) {
    Bench bench(adapter_options({"a", "b"}));
    answers.push_back(run_one(bench.start(), request));
  }
  return answers;
}

TEST(EngineAdapters, ChangeTheAnswerAndLoadOnce) {
  Bench bench(adapter_options({"a", "b"}));
  Engine& engine = bench.start();
  const GenerationRequest request = make_request(20, 12);
  const Answer base = run_one(engine, request), a = run_one(engine, with(request, "a"));
  EXPECT_NE(base.text, a.text);
  EXPECT_NE(a.text, run_one(engine, with(request, "b")).text);
  EXPECT_NE(a.text, run_one(engine, with(request, "a", 0.5f)).text);
  EXPECT_EQ(a.text, run_one(engine, with(request, "a")).text);
  EXPECT_EQ(bench.chain.n_loads(), 2);
}

TEST(EngineAdapters, ConcurrentFirstRequestsLoadOnceAndTheBaseGoesOn) {
  Bench bench(adapter_options({"a"}));
  std::promise<void> begun, go;
  std::shared_future<void> may_go = go.get_future().share();
  bench.chain.on_load = [&](const auto&, const auto&) {
    begun.set_value();
    may_go.wait();
  };
  Engine& engine = bench.start();
  std::vector<Collector> waiting(5);
  for (std::size_t i = 0; i < waiting.size(); ++i)
    ASSERT_TRUE(engine.submit(with(make_request(10, 4, i), "a"), waiting[i].sink()));
  begun.get_future().wait();
  run_one(engine, make_request(10, 4));  // while the load goes on
  for (const Collector& one : waiting) EXPECT_FALSE(one.is_done());
  go.set_value();
  for (const Collector& one : waiting) EXPECT_FALSE(one.wait().error);
  EXPECT_EQ(bench.chain.n_loads(), 1);
}

TEST(EngineAdapters, TogetherAreAsAlone) {
  const std::vector<GenerationRequest> requests = mixed(18);
  Bench bench(adapter_options({"a", "b"}));
  expect_same(run_together(bench.start(), requests), answers_alone(requests));
}

TEST(EngineAdapters, AreBackBeforeAnythingIsComputedAgain) {
  const std::vector<GenerationRequest> requests = mixed(12);
  const std::vector<Answer> alone = answers_alone(requests);
  for (const StageSpan loses : {kAllStages, StageSpan{1, 1}}) {
    Bench bench(adapter_options({"a", "b"}));
    bench.chain.loses = loses;
    for (const std::uint64_t at : {3u, 9u, 21u}) {
      bench.chain.faults.push_back({at, Code::kUnavailable, std::chrono::milliseconds(4)});
    }
    expect_same(run_together(bench.start(), requests), alone);  // and no step named one that was not there
    EXPECT_GT(bench.chain.n_loads(), 2);
  }
}

TEST(EngineAdapters, AStreamThatComesBackUnnoticedHasThemAgain) {
  Bench bench(adapter_options({"a"}));
  Engine& engine = bench.start();
  const GenerationRequest request = with(make_request(20, 8), "a");
  const Answer before = run_one(engine, request);
  ASSERT_TRUE(bench.is_idle());
  bench.chain.break_unnoticed();
  EXPECT_EQ(run_one(engine, request).text, before.text);
  EXPECT_EQ(bench.chain.n_loads(), 2);
}

TEST(EngineAdapters, TheLeastRecentlyUsedLeavesAndNoneInUse) {
  Bench bench(adapter_options({"a", "b", "c"}, 250));  // two of 100 bytes fit
  Engine& engine = bench.start();
  for (const char* name : {"a", "b", "a", "c"}) run_one(engine, with(make_request(10, 2), name));
  ASSERT_TRUE(Bench::until([&] { return !bench.chain.has_adapter(id_of("b")); }));
  EXPECT_TRUE(bench.chain.has_adapter(id_of("a")));

  bench.chain.hold(true);
  Collector a, c, b;
  ASSERT_TRUE(engine.submit(with(make_request(10, 2), "a"), a.sink()));
  ASSERT_TRUE(engine.submit(with(make_request(10, 2), "c"), c.sink()));
  ASSERT_TRUE(engine.submit(with(make_request(10, 2), "b"), b.sink()));
  EXPECT_FALSE(b.is_done(std::chrono::milliseconds(300))) << "it waits for room";
  EXPECT_TRUE(bench.chain.has_adapter(id_of("a")) && bench.chain.has_adapter(id_of("c")));
  bench.chain.hold(false);
  for (const Collector* one : {&a, &c, &b}) EXPECT_FALSE(one->wait().error);
  EXPECT_LE(bench.chain.most_adapters(), 3u);
}

TEST(EngineAdapters, AFailedLoadFailsItsOwnRequests) {
  EngineOptions options = adapter_options({"a", "large"});
  options.adapters.known.push_back({{}, "bad", "broken"});
  options.adapters.known.push_back({{}, "gone", "absent"});
  Bench bench(options);
  bench.chain.on_load = [&](const AdapterSource& source, const auto&) {
    bench.chain.adapter_bytes = source.name == "large" ? 5000 : 100;
  };
  Engine& engine = bench.start();
  std::vector<Collector> all(5);
  const char* const names[] = {"a", "bad", "gone", "large", ""};
  for (std::size_t i = 0; i < all.size(); ++i)
    ASSERT_TRUE(engine.submit(with(make_request(10, 4), names[i]), all[i].sink()));
  EXPECT_FALSE(all[0].wait().error);
  EXPECT_EQ(all[1].wait().error->code(), Code::kInvalidArgument);
  EXPECT_NE(all[1].wait().error->message().find("adapter bad"), std::string::npos);
  EXPECT_EQ(all[2].wait().error->code(), Code::kNotFound);
  EXPECT_NE(all[3].wait().error->message().find("--adapter-bytes"), std::string::npos);
  EXPECT_FALSE(all[4].wait().error);
  EXPECT_FALSE(run_one(engine, with(make_request(10, 4), "a")).error);
}

TEST(EngineAdapters, UnknownOnesAndBadScalesAreRefusedAtOnce) {
  Bench bench(adapter_options({"a"}));
  Engine& engine = bench.start();
  Collector none;
  EXPECT_EQ(engine.submit(with(make_request(4, 2), "nobody"), none.sink()).error().code(), Code::kNotFound);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(engine.submit(with(make_request(4, 2), "a", nan), none.sink()).error().code(), Code::kInvalidArgument);
  Bench without;
  EXPECT_EQ(without.start().adapters(), nullptr);
  EXPECT_EQ(without.engine->submit(with(make_request(4, 2), "a"), none.sink()).error().code(), Code::kNotFound);
}

TEST(EngineAdapters, AClientThatLeavesWhileItLoadsUsesNothing) {
  Bench bench(adapter_options({"a", "b"}, 100));
  std::promise<void> begun, go;
  std::shared_future<void> may_go = go.get_future().share();
  bench.chain.on_load = [&](const AdapterSource& source, const auto&) {
    if (source.name != "a") return;
    begun.set_value();
    may_go.wait();
  };
  Engine& engine = bench.start();
  Collector left;
  const auto handle = engine.submit(with(make_request(10, 4), "a"), left.sink());
  ASSERT_TRUE(handle);
  begun.get_future().wait();
  engine.cancel(*handle);
  go.set_value();
  EXPECT_FALSE(run_one(engine, with(make_request(10, 4), "b")).error) << "which needs the room of the other";
}

TEST(AdapterKeeper, KnowsWhatLiesInItsFolder) {
  const testing::TempFolder folder;
  const std::filesystem::path root = folder.path();
  std::filesystem::create_directories(root / "poet");
  std::ofstream(root / "poet" / "adapter_config.json") << "{}";
  std::ofstream(root / "clerk.gguf") << "GGUF";
  std::filesystem::create_directories(root / "empty");
  std::ofstream(root / ".hidden.gguf") << "GGUF";
  EngineOptions options = adapter_options({"a"});
  options.adapters.folder = folder.path();
  Bench bench(options);
  Engine& engine = bench.start();
  std::vector<std::string> names;
  for (const AdapterSource& source : engine.adapters()->list()) names.push_back(source.name);
  EXPECT_EQ(names, (std::vector<std::string>{"a", "clerk", "poet"}));
  for (const char* name : {"empty", ".hidden", "..", "../poet", "poet/", "", "none"})
    EXPECT_FALSE(engine.adapters()->knows(name)) << name;
  EXPECT_FALSE(run_one(engine, with(make_request(10, 4), "clerk")).error);
  EXPECT_TRUE(engine.adapters()->has_loaded("clerk"));
  EXPECT_FALSE(engine.adapters()->has_loaded("poet"));
}

TEST(AdapterKeeper, AddsAndRemovesWhileOthersRun) {
  Bench bench(adapter_options({"a"}));
  Engine& engine = bench.start();
  const auto add = [&](const std::string& name, const std::string& path) {
    std::promise<Status> done;
    engine.adapters()->add(name, path, [&](Status status) { done.set_value(std::move(status)); });
    return done.get_future().get();
  };
  EXPECT_TRUE(add("twin", "of a"));
  EXPECT_EQ(add("twin", "of b").error().code(), Code::kAlreadyExists);
  EXPECT_EQ(add("bad", "broken").error().code(), Code::kInvalidArgument);
  EXPECT_FALSE(engine.adapters()->knows("bad"));
  const GenerationRequest request = make_request(10, 6);
  EXPECT_EQ(run_one(engine, with(request, "twin")).text, run_one(engine, with(request, "a")).text);
  EXPECT_TRUE(engine.adapters()->remove("twin"));
  EXPECT_EQ(engine.adapters()->remove("twin").error().code(), Code::kNotFound);
  EXPECT_TRUE(bench.chain.has_adapter(id_of("a"))) << "the other name's";
  EXPECT_TRUE(engine.adapters()->remove("a"));
  EXPECT_TRUE(Bench::until([&] { return !bench.chain.has_adapter(id_of("a")); }));
}

TEST(AdapterKeeper, NamesAreShortAndPlain) {
  for (const char* name : {"a", "sql-lora", "Poet_2.1"}) EXPECT_TRUE(is_adapter_name(name)) << name;
  for (const char* name : {"", ".", "-a", "a/b", "a b", "a\n", "base:a", "\xc3\xa4"})
    EXPECT_FALSE(is_adapter_name(name)) << name;
  EXPECT_FALSE(is_adapter_name(std::string(kMaxAdapterName + 1, 'a')));
}

}  // namespace
}  // namespace commissure
