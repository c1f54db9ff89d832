#include <gtest/gtest.h>

#include "wire/fake_stage.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;

/// A stage that takes `load_time` to load, from its first wake on.
class SlowStage {
 public:
  SlowStage(int index, int n_stages, std::chrono::milliseconds load_time, bool fails = false)
      : load_time_(load_time), fails_(fails), info_(fake_info(index, n_stages)) {
    info_.state = LoadState::kCold;
  }
  LocalStage local() {
    return {[this] { return info(); }, [this] { wake(); }};
  }
  StageInfo info() {
    const std::lock_guard lock(mutex_);
    return info_;
  }

 private:
  void wake() {
    const std::lock_guard lock(mutex_);
    if (info_.state != LoadState::kCold) return;
    info_.state = LoadState::kLoading;
    loader_ = std::jthread([this](const std::stop_token& stop) {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, stop, load_time_, [] { return false; });
      info_.state = fails_ ? LoadState::kFailed : LoadState::kReady;
      info_.problem = fails_ ? "no such file" : "";
      info_.loaded_bytes = fails_ ? 0 : info_.weight_bytes;
    });
  }
  const std::chrono::milliseconds load_time_;
  const bool fails_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  StageInfo info_;
  std::jthread loader_;
};

/// A served stage without a stream.
struct Served {
  Served(SlowStage& stage, const Endpoint& listen, StageClient* next) {
    StageServiceOptions options;
    options.self = stage.local();
    options.next_client = next;
    service = std::make_unique<StageService>(options);
    server = StageServer::start(*service, {listen}).value();
  }
  ~Served() { server->stop(0ms); }
  std::unique_ptr<StageService> service;
  std::unique_ptr<StageServer> server;
};

struct ThreeStages {
  explicit ThreeStages(bool c_fails = false)
      : a(0, 3, 200ms),
        b(1, 3, 200ms),
        c(2, 3, 200ms, c_fails),
        to_c(dir.endpoint("c")),
        to_b(dir.endpoint("b")),
        served_c(c, dir.endpoint("c"), nullptr),
        served_b(b, dir.endpoint("b"), &to_c) {}
  SocketDir dir;
  SlowStage a, b, c;
  StageClient to_c, to_b;
  Served served_c, served_b;
};

TEST(Wake, LoadsAllStagesAtTheSameTimeAndReportsAll) {
  ThreeStages chain;
  std::vector<std::vector<StageInfo>> reports;
  const auto begin = std::chrono::steady_clock::now();
  const Status woken =
      wake_chain(chain.a.local(), &chain.to_b, 10s, [&](const auto& stages) { reports.push_back(stages); }, {});
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(woken.has_value()) << woken.error().message();
  EXPECT_LT(took, 550ms) << "three loads of 200 ms, one after the other, are 600";
  ASSERT_FALSE(reports.empty());
  ASSERT_EQ(reports.back().size(), 3u);
  for (const StageInfo& stage : reports.back()) EXPECT_EQ(stage.state, LoadState::kReady);
  EXPECT_EQ(reports.back()[2].plan.name(), "c");
}

TEST(Wake, TellsWhichStageFailed) {
  ThreeStages chain(true);
  std::vector<StageInfo> last;
  const Status woken = wake_chain(chain.a.local(), &chain.to_b, 10s, [&](const auto& stages) { last = stages; }, {});
  ASSERT_FALSE(woken.has_value());
  EXPECT_NE(woken.error().message().find("stage c"), std::string::npos) << woken.error().message();
  EXPECT_NE(woken.error().message().find("no such file"), std::string::npos);
  ASSERT_EQ(last.size(), 3u);
  EXPECT_EQ(last[1].state, LoadState::kReady);
}

TEST(Wake, EndsWhenAsked) {
  const SocketDir dir;
  SlowStage a(0, 2, 1ms);
  StageClient nobody(dir.endpoint("b"));
  std::stop_source stop;
  Status woken;
  std::jthread waker([&] { woken = wake_chain(a.local(), &nobody, 60s, [](const auto&) {}, stop.get_token()); });
  stop.request_stop();
  waker.join();
  EXPECT_EQ(woken.error().code(), Code::kCancelled);
}

TEST(Describe, ShowsTheWholeChainAndStagesThatDoNotAnswer) {
  const SocketDir dir;
  SlowStage a(0, 3, 1ms), b(1, 3, 1ms), c(2, 3, 1ms);
  StageClient to_c(dir.endpoint("c")), to_b(dir.endpoint("b"));
  Served served_b(b, dir.endpoint("b"), &to_c);
  {
    Served served_c(c, dir.endpoint("c"), nullptr);
    std::vector<StageInfo> chain;
    // The channel may still be backing off from a time before the stage listened.
    for (int attempt = 0; attempt < 100 && (chain.size() < 3 || !chain[2].problem.empty()); ++attempt) {
      chain = describe_chain(a.local(), &to_b, 2s);
    }
    ASSERT_EQ(chain.size(), 3u);
    EXPECT_EQ(chain[2].state, LoadState::kCold);
  }
  const auto chain = describe_chain(a.local(), &to_b, 2s);
  ASSERT_EQ(chain.size(), 3u);
  EXPECT_EQ(chain[1].state, LoadState::kCold);
  EXPECT_EQ(chain[2].state, LoadState::kUnreachable);
  EXPECT_NE(chain[2].problem.find((dir.path / "c").string()), std::string::npos) << chain[2].problem;
}

}  // namespace
}  // namespace commissure
