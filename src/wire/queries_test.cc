#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "support/eventually.h"
#include "support/fake_stage.h"
#include "wire/channel.h"
#include "wire/health.pb.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;

/// Lets nobody through before `n` have come; gives up after a patience that only a wrong program uses up.
class Gate {
 public:
  explicit Gate(int n) : n_missing_(n) {}
  bool pass(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    --n_missing_;
    changed_.notify_all();
    return changed_.wait_for(lock, stop, 60s, [this] { return n_missing_ <= 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int n_missing_;
};

/// A stage that loads from its first wake on, until its `gate` opens.
class LoadingStage {
 public:
  LoadingStage(int index, int n_stages, Gate& gate, bool fails = false)
      : gate_(gate), fails_(fails), info_(fake_info(index, n_stages)) {
    info_.state = LoadState::kCold;
  }
  LocalStage local() {
    return {[this] { return info(); }, [this] { wake(); },
            [this](const AdapterSource& source) { return load_adapter(source); },
            [this](AdapterId id) { n_dropped += id == AdapterId(7) ? 1 : 0; }};
  }
  std::uint64_t adapter_bytes = 0;  ///< 0: it cannot be loaded
  std::atomic<int> n_dropped = 0;
  StageInfo info() {
    const std::lock_guard lock(mutex_);
    return info_;
  }

 private:
  /// Like the weights: no stage is through before all of them have begun.
  Result<std::uint64_t> load_adapter(const AdapterSource& source) {
    EXPECT_EQ(source, (AdapterSource{AdapterId(7), "poet", "/adapters/poet"}));
    gate_.pass({});
    if (adapter_bytes == 0) return Error(Code::kInvalidArgument, "other files");
    return adapter_bytes;
  }
  void wake() {
    const std::lock_guard lock(mutex_);
    if (info_.state != LoadState::kCold) return;
    info_.state = LoadState::kLoading;
    loader_ = std::jthread([this](const std::stop_token& stop) {
      const bool loaded = gate_.pass(stop) && !fails_;
      const std::lock_guard done(mutex_);
      info_.state = loaded ? LoadState::kReady : LoadState::kFailed;
      info_.problem = loaded ? "" : fails_ ? "no such file" : "the others never began to load";
      info_.loaded_bytes = loaded ? info_.weight_bytes : 0;
    });
  }
  Gate& gate_;
  const bool fails_;
  std::mutex mutex_;
  StageInfo info_;
  std::jthread loader_;
};

/// A served stage without a stream.
struct Served {
  Served(LoadingStage& stage, const Endpoint& listen, StageClient* next, const ServerLimits& limits = {}) {
    StageServiceOptions options;
    options.self = stage.local();
    options.next_client = next;
    service = std::make_unique<StageService>(options);
    server = StageServer::start(*service, {listen}, {}, nullptr, limits).value();
  }
  ~Served() { server->stop(0ms); }
  std::unique_ptr<StageService> service;
  std::unique_ptr<StageServer> server;
};

struct ThreeStages {
  explicit ThreeStages(bool c_fails = false)
      : a(0, 3, gate),
        b(1, 3, gate),
        c(2, 3, gate, c_fails),
        to_c(dir.endpoint("c")),
        to_b(dir.endpoint("b")),
        served_c(c, dir.endpoint("c"), nullptr),
        served_b(b, dir.endpoint("b"), &to_c) {}
  SocketDir dir;
  Gate gate{3};  // no stage finishes loading before all of them have begun
  LoadingStage a, b, c;
  StageClient to_c, to_b;
  Served served_c, served_b;
};

TEST(Wake, LoadsAllStagesAtTheSameTimeAndReportsAll) {
  ThreeStages chain;
  std::vector<std::vector<StageInfo>> reports;
  const Status woken =
      wake_chain(chain.a.local(), &chain.to_b, 90s, [&](const auto& stages) { reports.push_back(stages); }, {});
  ASSERT_TRUE(woken.has_value()) << woken.error().message();
  ASSERT_FALSE(reports.empty());
  ASSERT_EQ(reports.back().size(), 3u);
  for (const StageInfo& stage : reports.back()) EXPECT_EQ(stage.state, LoadState::kReady);
  EXPECT_EQ(reports.back()[2].plan.name(), "c");
}

TEST(Wake, TellsWhichStageFailed) {
  ThreeStages chain(true);
  std::vector<StageInfo> last;
  const Status woken = wake_chain(chain.a.local(), &chain.to_b, 90s, [&](const auto& stages) { last = stages; }, {});
  ASSERT_FALSE(woken.has_value());
  EXPECT_NE(woken.error().message().find("stage c"), std::string::npos) << woken.error().message();
  EXPECT_NE(woken.error().message().find("no such file"), std::string::npos);
  ASSERT_EQ(last.size(), 3u);
  EXPECT_EQ(last[1].state, LoadState::kReady);
}

TEST(Wake, EndsWhenAsked) {
  const SocketDir dir;
  Gate gate(1);
  LoadingStage a(0, 2, gate);
  StageClient nobody(dir.endpoint("b"));
  std::stop_source stop;
  Status woken;
  std::jthread waker([&] { woken = wake_chain(a.local(), &nobody, 60s, [](const auto&) {}, stop.get_token()); });
  stop.request_stop();
  waker.join();
  EXPECT_EQ(woken.error().code(), Code::kCancelled);
}

const AdapterSource kPoet{AdapterId(7), "poet", "/adapters/poet"};

TEST(Adapters, AreLoadedByAllStagesAtTheSameTimeAndDroppedByAll) {
  ThreeStages chain;
  chain.a.adapter_bytes = 10;
  chain.b.adapter_bytes = 30;
  chain.c.adapter_bytes = 20;
  const auto loaded = load_adapter_chain(chain.a.local(), &chain.to_b, kPoet, 90s, {});
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(*loaded, 30u) << "the stage where it takes the most";
  chain.to_b.drop_adapter(kPoet.id);
  EXPECT_EQ(chain.b.n_dropped, 1);
  EXPECT_EQ(chain.c.n_dropped, 1);
}

TEST(Adapters, AnErrorNamesTheStageAndKeepsItsCode) {
  ThreeStages chain;
  chain.a.adapter_bytes = chain.b.adapter_bytes = 10;
  const auto loaded = load_adapter_chain(chain.a.local(), &chain.to_b, kPoet, 90s, {});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code(), Code::kInvalidArgument);
  EXPECT_NE(loaded.error().message().find("stage c: other files"), std::string::npos) << loaded.error().message();
}

TEST(Adapters, AStageThatIsAwayAndAStopEndTheCall) {
  const SocketDir dir;
  StageClient nobody(dir.endpoint("b"));
  EXPECT_EQ(nobody.load_adapter(kPoet, 20s, {}).error().code(), Code::kUnavailable);
  nobody.drop_adapter(kPoet.id);  // errors are of no interest
  Gate never(2);
  LoadingStage b(1, 2, never);
  b.adapter_bytes = 1;
  Served served(b, dir.endpoint("b2"), nullptr);
  StageClient to_b(dir.endpoint("b2"));
  EXPECT_EQ(to_b.load_adapter(kPoet, 100ms, {}).error().code(), Code::kDeadlineExceeded);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(to_b.load_adapter(kPoet, 20s, stop.get_token()).error().code(), Code::kCancelled);
  never.pass({});  // lets the stage finish
}

TEST(Describe, ShowsTheWholeChainAndStagesThatDoNotAnswer) {
  const SocketDir dir;
  Gate gate(1);
  LoadingStage a(0, 3, gate), b(1, 3, gate), c(2, 3, gate);
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

TEST(Describe, AClientThatGoesAwayHasCalledBackBefore) {
  const SocketDir dir;
  const std::string path = (dir.path / "silent").string();  // takes connections and never says a word
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_LT(path.copy(address.sun_path, sizeof address.sun_path - 1), sizeof address.sun_path - 1);
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 8), 0);

  std::optional<Code> outcome;
  const auto begin = std::chrono::steady_clock::now();
  {
    StageClient client(dir.endpoint("silent"));
    client.describe_later(60s, [&](const auto& stages) { outcome = stages.error().code(); });
  }
  EXPECT_EQ(outcome, Code::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s) << "the call was cancelled, not awaited";
  close(listener);
}

using Health = grpc::health::v1::HealthCheckResponse;

/// One call of grpc.health.v1.Health.
class HealthCall {
 public:
  HealthCall(const Endpoint& endpoint, const char* method, const std::string& request)
      : stub_(open_channel(endpoint, {})) {
    context_.set_deadline(std::chrono::system_clock::now() + 20s);
    call_ = stub_.PrepareCall(&context_, std::string("/grpc.health.v1.Health/") + method, &queue_);
    call_->StartCall(this);
    wait();
    const grpc::Slice slice(request);
    call_->WriteLast(grpc::ByteBuffer(&slice, 1), {}, this);
    wait();
  }
  ~HealthCall() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  /// The next answer, if there is one.
  std::optional<Health::ServingStatus> next() {
    grpc::ByteBuffer bytes;
    grpc::Slice slice;
    Health answer;
    call_->Read(&bytes, this);
    if (!wait() || !bytes.DumpToSingleSlice(&slice).ok()) return std::nullopt;
    if (!answer.ParseFromArray(slice.begin(), static_cast<int>(slice.size()))) return std::nullopt;
    return answer.status();
  }
  grpc::StatusCode end() {
    grpc::Status status;
    call_->Finish(&status, this);
    wait();
    return status.error_code();
  }

 private:
  bool wait() {
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
    return ok;
  }
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

/// A call whose peer says nothing.
class SilentCall {
 public:
  SilentCall(const Endpoint& endpoint, const std::string& method) : stub_(open_channel(endpoint, {})) {
    call_ = stub_.PrepareCall(&context_, method, &queue_);
    call_->StartCall(this);
    wait();
  }
  ~SilentCall() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  grpc::StatusCode end() {
    grpc::Status status;
    call_->Finish(&status, this);
    wait();
    return status.error_code();
  }

 private:
  void wait() {
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
  }
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

std::string health_request(const std::string& service) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  return request.SerializeAsString();
}

TEST(Health, FollowsTheStageAndRefusesWhatItDoesNotKnow) {
  const SocketDir dir;
  const Endpoint b = dir.endpoint("b");
  FakeProcess stage(fake_info(1, 2), b);
  stage.change([](StageInfo& info) { info.state = LoadState::kLoading; });
  EXPECT_EQ(HealthCall(b, "Check", health_request("live")).next(), Health::SERVING);
  EXPECT_EQ(HealthCall(b, "Check", health_request("")).next(), Health::NOT_SERVING);
  HealthCall watch(b, "Watch", health_request(""));
  EXPECT_EQ(watch.next(), Health::NOT_SERVING);
  stage.change([](StageInfo& info) { info.state = LoadState::kReady; });
  EXPECT_EQ(watch.next(), Health::SERVING);
  EXPECT_EQ(HealthCall(b, "Check", health_request("")).next(), Health::SERVING);
  const auto refusal = [&](const char* method, const std::string& request) {
    HealthCall call(b, method, request);
    EXPECT_EQ(call.next(), std::nullopt);
    return call.end();
  };
  EXPECT_EQ(refusal("Check", health_request("another")), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(refusal("Check", "\xff\xff"), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refusal("Reset", health_request("")), grpc::StatusCode::UNIMPLEMENTED);
}

TEST(Health, WatchersTakeNoThreadsWithoutEndAndNoPlaceOfAnotherKind) {
  const SocketDir dir;
  const Endpoint b = dir.endpoint("b");
  FakeProcess stage(fake_info(1, 2), b);
  std::vector<std::unique_ptr<HealthCall>> watches;
  int n_served = 0;
  for (int i = 0; i < 20; ++i) {
    watches.push_back(std::make_unique<HealthCall>(b, "Watch", health_request("")));
    if (watches.back()->next() == Health::SERVING) ++n_served;
  }
  EXPECT_EQ(n_served, 16);
  EXPECT_EQ(watches.back()->end(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(HealthCall(b, "Check", health_request("")).next(), Health::SERVING);
  EXPECT_TRUE(StageClient(b).describe(20s).has_value());
  watches.clear();
  EXPECT_TRUE(
      testing::eventually([&] { return HealthCall(b, "Watch", health_request("")).next() == Health::SERVING; }));
}

TEST(Health, CallsThatSayNothingMakeRoomForOneThatDoes) {
  const SocketDir dir;
  const Endpoint b = dir.endpoint("b");
  FakeProcess stage(fake_info(1, 2), b);
  for (const char* method : {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
                             "/commissure.v1.Stage/Describe", "/commissure.v1.Stage/Open"}) {
    std::vector<std::unique_ptr<SilentCall>> silent;
    for (int i = 0; i < 80; ++i) silent.push_back(std::make_unique<SilentCall>(b, method));
    EXPECT_EQ(silent.front()->end(), grpc::StatusCode::RESOURCE_EXHAUSTED) << method;
    EXPECT_EQ(HealthCall(b, "Check", health_request("")).next(), Health::SERVING) << method;
    EXPECT_TRUE(StageClient(b).describe(20s).has_value()) << method;
  }
}

TEST(Health, ACallWithoutARequestEnds) {
  const SocketDir dir;
  const Endpoint b = dir.endpoint("b");
  Gate gate(1);
  LoadingStage stage(1, 2, gate);
  const Served served(stage, b, nullptr, {.request_wait = 1ms});
  for (const char* method : {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
                             "/commissure.v1.Stage/Describe", "/commissure.v1.Stage/Wake"}) {
    EXPECT_EQ(SilentCall(b, method).end(), grpc::StatusCode::DEADLINE_EXCEEDED) << method;
  }
}

}  // namespace
}  // namespace commissure
