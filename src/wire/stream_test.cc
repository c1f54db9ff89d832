#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "support/eventually.h"
#include "support/failing_new.h"
#include "support/fake_stage.h"
#include "wire/channel.h"
#include "wire/codec.h"
#include "wire/stage.grpc.pb.h"
#include "wire/step_pace.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
constexpr auto kPatience = 10s;

/// Stage A's side: a link and its answers.
class Caller {
 public:
  Caller(const Endpoint& endpoint, StageInfo self, auto edit) {
    GrpcLinkOptions options = fake_link_options(endpoint, [self] { return self; });
    edit(options);
    link = std::make_unique<GrpcLink>(options);
    link->start([this](Result<StageOutput> output) { answers.push(std::move(output)); });
  }
  Caller(const Endpoint& endpoint, StageInfo self) : Caller(endpoint, std::move(self), [](auto&) {}) {}
  ~Caller() { link->stop(); }

  bool ready() {
    return eventually([&] { return link->health().has_value(); });
  }
  /// A step of one new sequence (or, with `continued`, of one that exists) with one row of zeros.
  Status submit(std::uint64_t id, bool continued = false) {
    SequenceRows rows;
    rows.sequence = SequenceId(continued ? 1 : id);
    rows.tokens = {TokenId(1)};
    if (!continued) rows.new_blocks = {BlockId(0)};
    rows.table_start = continued ? 1 : 0;
    rows.sample = true;
    StageInput input{{StepId(id), {rows}, {}}, make_boundary(StepId(id), 1, kFakeWidth, std::vector<bf16>(kFakeWidth))};
    return link->submit(std::move(input));
  }
  Result<StageOutput> next() {
    auto answer = answers.pop_for(std::chrono::duration_cast<std::chrono::milliseconds>(kPatience));
    if (!answer) return Error(Code::kUnknown, "no answer came");
    return std::move(*answer);
  }
  Code next_code() {
    const auto answer = next();
    return answer ? Code::kOk : answer.error().code();
  }

  std::unique_ptr<GrpcLink> link;
  BoundedQueue<Result<StageOutput>> answers{1000};
};

TEST(Stream, CarriesStepsThroughThreeStagesInOrder) {
  const SocketDir dir;
  FakeProcess c(fake_info(2, 3), dir.endpoint("c"));
  FakeProcess b(fake_info(1, 3), dir.endpoint("b"), dir.endpoint("c"));
  Caller a(dir.endpoint("b"), fake_info(0, 3));
  ASSERT_TRUE(a.ready());
  ASSERT_EQ(a.link->infos().size(), 2u);
  EXPECT_EQ(a.link->infos()[1].plan.name(), "c");
  std::jthread submitter([&] {
    for (std::uint64_t i = 0; i < 200; ++i) ASSERT_TRUE(a.submit(i).has_value());
  });
  for (std::uint64_t i = 0; i < 200; ++i) {
    const auto answer = a.next();
    ASSERT_TRUE(answer.has_value()) << answer.error().message();
    EXPECT_EQ(answer->batch.step, StepId(i));
    const auto& tokens = std::get<SampledTokens>(answer->value);
    EXPECT_EQ(tokens.results.at(0).sampled->chosen.token, TokenId(2 * kFakeWidth)) << "each stage adds one";
    ASSERT_EQ(answer->timings.size(), 2u);
    EXPECT_EQ(answer->timings[0].stage, "b");
    EXPECT_EQ(answer->timings[1].stage, "c");
  }
  EXPECT_EQ(a.link->n_streams(), 1);
}

TEST(Stream, CrossesTcpLoopbackToo) {
  FakeProcess b(fake_info(1, 2), Endpoint{"127.0.0.1:0", false, true});
  ASSERT_GT(b.server->port(), 0);
  Caller a(*parse_endpoint(fmt::format("http://127.0.0.1:{}", b.server->port())), fake_info(0, 2));
  ASSERT_TRUE(a.ready());
  ASSERT_TRUE(a.submit(0).has_value());
  EXPECT_EQ(a.next_code(), Code::kOk);
}

TEST(Stream, RefusesAPortThatIsTaken) {
  FakeProcess b(fake_info(1, 2), Endpoint{"127.0.0.1:0", false, true});
  StageServiceOptions options;
  options.self = {[] { return fake_info(1, 2); }, [] {}};
  StageService second(options);
  const auto server =
      StageServer::start(second, {Endpoint{fmt::format("127.0.0.1:{}", b.server->port()), false, true}});
  ASSERT_FALSE(server.has_value());
  EXPECT_NE(server.error().message().find(std::to_string(b.server->port())), std::string::npos);
}

TEST(Stream, AnAnswerOfErrorLeavesTheStreamAlone) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  b.local.fail(StepId(1));
  Caller a(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(a.ready());
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(a.submit(i).has_value());
  EXPECT_EQ(a.next_code(), Code::kOk);
  EXPECT_EQ(a.next_code(), Code::kInvalidArgument);
  EXPECT_EQ(a.next_code(), Code::kOk);
  EXPECT_EQ(a.link->n_streams(), 1);
}

TEST(Stream, RefusesMalformedBatchesOneByOne) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(a.ready());
  StageInput wide;
  wide.batch.slices.push_back({SequenceId(1), 0, {TokenId(1)}, 0, {BlockId(0)}, true, {}, {}});
  wide.boundary = make_boundary(StepId(0), 1, 3, {1, 2, 3});
  ASSERT_TRUE(a.link->submit(wide).has_value());
  ASSERT_TRUE(a.submit(1).has_value());
  const auto refused = a.next();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
  EXPECT_EQ(a.next_code(), Code::kOk);
}

/// Opens a chain whose server side is edited, and returns why the link is not healthy.
Error refusal(auto edit_server, auto edit_client) {
  const SocketDir dir;
  StageInfo server = fake_info(1, 2);
  StageInfo client = fake_info(0, 2);
  edit_server(server);
  edit_client(client);
  FakeProcess b(server, dir.endpoint("b"));
  Caller a(dir.endpoint("b"), client);
  EXPECT_TRUE(eventually([&] {
    const Status health = a.link->health();
    return !health && health.error().code() == Code::kFailedPrecondition;
  }));
  const Status refused = a.submit(0);
  EXPECT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kUnavailable);
  const Status health = a.link->health();
  return health ? Error(Code::kUnknown, "healthy") : health.error();
}

TEST(Handshake, RefusesEveryWrongChainAndNamesBothSides) {
  const auto as_is = [](auto&) {};
  const auto expect_names = [](const Error& error, std::string_view what) {
    EXPECT_NE(error.message().find("stage a"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("stage b"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find(what), std::string::npos) << error.message();
  };
  expect_names(refusal([](auto& s) { s.fingerprint = "ffff"; }, as_is), "different models");
  expect_names(refusal([](auto& s) { s.precision = "exact"; }, as_is), "precision");
  expect_names(refusal([](auto& s) { s.kv_dtype = "int8"; }, as_is), "KV is 'bf16' on one and 'int8' on the other");
  expect_names(refusal([](auto& s) { s.plan.layers.first = 12; }, as_is), "layers 10-12 are on no stage");
  expect_names(refusal([](auto& s) { s.plan.layers.first = 8; }, as_is), "layers 8-10 are on both");
  expect_names(refusal([](auto& s) { s.d_model = 4; }, as_is), "d_model");
  expect_names(refusal(as_is, [](auto& s) { s.plan.n_stages = 3; }), "followed by");
}

TEST(Handshake, RefusesAChainThatEndsTooEarly) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 3), dir.endpoint("b"));  // knows no next endpoint
  Caller a(dir.endpoint("b"), fake_info(0, 3));
  ASSERT_TRUE(eventually([&] { return a.link->health().error().code() == Code::kFailedPrecondition; }));
  EXPECT_NE(a.link->health().error().message().find("next endpoint"), std::string::npos);
}

TEST(Handshake, TellsStageAOfAWrongChainFurtherDown) {
  const SocketDir dir;
  StageInfo wrong = fake_info(2, 3);
  wrong.plan.layers.first = 25;
  FakeProcess c(wrong, dir.endpoint("c"));
  FakeProcess b(fake_info(1, 3), dir.endpoint("b"), dir.endpoint("c"));
  Caller a(dir.endpoint("b"), fake_info(0, 3));
  ASSERT_TRUE(eventually([&] { return a.link->health().error().code() == Code::kFailedPrecondition; }));
  const std::string message = a.link->health().error().message();
  EXPECT_NE(message.find("stage b"), std::string::npos) << message;
  EXPECT_NE(message.find("stage c"), std::string::npos) << message;
}

TEST(Handshake, WaitsForALoadingStageAndGoesOnByItself) {
  const SocketDir dir;
  StageInfo cold = fake_info(1, 2);
  cold.state = LoadState::kCold;
  FakeProcess b(cold, dir.endpoint("b"), {}, false);
  Caller a(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(eventually([&] { return b.n_wakes > 0; })) << "the first use starts loading";
  ASSERT_TRUE(eventually([&] { return a.link->health().error().message().find("cold") != std::string::npos; }));
  b.change([](StageInfo& info) { info.state = LoadState::kReady; });
  b.serve();
  ASSERT_TRUE(a.ready());
}

TEST(Stream, AKilledStageFailsEachStepInFlightOnceAndIsFoundAgain) {
  const SocketDir dir;
  auto c = std::make_unique<FakeProcess>(fake_info(2, 3), dir.endpoint("c"));
  FakeProcess b(fake_info(1, 3), dir.endpoint("b"), dir.endpoint("c"));
  Caller a(dir.endpoint("b"), fake_info(0, 3));
  ASSERT_TRUE(a.ready());
  ASSERT_TRUE(a.submit(1).has_value());
  ASSERT_EQ(a.next_code(), Code::kOk);
  c->local.hold(true);
  for (std::uint64_t i = 2; i < 7; ++i) ASSERT_TRUE(a.submit(i).has_value());
  ASSERT_TRUE(eventually([&] { return c->local.n_taken() > 1; }));
  c.reset();
  for (std::uint64_t i = 2; i < 7; ++i) EXPECT_EQ(a.next_code(), Code::kUnavailable);
  ASSERT_TRUE(eventually([&] { return !a.link->health().has_value(); }));

  c = std::make_unique<FakeProcess>(fake_info(2, 3), dir.endpoint("c"));
  ASSERT_TRUE(a.ready());
  EXPECT_GE(a.link->n_streams(), 2);
  EXPECT_GE(b.n_resets, 2);
  const Status stale = a.submit(8, true);
  ASSERT_FALSE(stale.has_value()) << "sequence 1 was lost with the stream";
  EXPECT_EQ(stale.error().code(), Code::kUnavailable);
  ASSERT_TRUE(a.submit(9).has_value());
  EXPECT_EQ(a.next_code(), Code::kOk);
  EXPECT_EQ(a.answers.size(), 0u);
}

TEST(Session, OnlyAStageThatWasReplacedIsLost) {
  const SocketDir dir;
  auto c = std::make_unique<FakeProcess>(fake_info(2, 3), dir.endpoint("c"));
  auto b = std::make_unique<FakeProcess>(fake_info(1, 3), dir.endpoint("b"), dir.endpoint("c"));
  Caller a(dir.endpoint("b"), fake_info(0, 3));
  ASSERT_TRUE(a.ready());
  EXPECT_EQ(a.link->lost(), (StageSpan{1, 2})) << "there was nothing before";
  const int n_forgets = b->n_forgets;
  ASSERT_TRUE(a.submit(1).has_value());
  ASSERT_EQ(a.next_code(), Code::kOk);

  c.reset();
  ASSERT_TRUE(eventually([&] { return !a.link->health().has_value(); }));
  c = std::make_unique<FakeProcess>(fake_info(2, 3), dir.endpoint("c"));
  ASSERT_TRUE(a.ready());
  EXPECT_EQ(a.link->lost(), (StageSpan{2, 2}));
  EXPECT_EQ(b->n_forgets, n_forgets);

  // Again, before a step tells what the new stage has: still lost.
  b.reset();
  ASSERT_TRUE(eventually([&] { return !a.link->health().has_value(); }));
  b = std::make_unique<FakeProcess>(fake_info(1, 3), dir.endpoint("b"), dir.endpoint("c"));
  ASSERT_TRUE(a.ready());
  EXPECT_EQ(a.link->lost(), (StageSpan{1, 2}));
  ASSERT_TRUE(a.submit(2).has_value());
  ASSERT_EQ(a.next_code(), Code::kOk);

  // The stage behind a replaced one keeps what it has: sessions are stage A's, not those of a hop.
  b.reset();
  ASSERT_TRUE(eventually([&] { return !a.link->health().has_value(); }));
  b = std::make_unique<FakeProcess>(fake_info(1, 3), dir.endpoint("b"), dir.endpoint("c"));
  ASSERT_TRUE(a.ready());
  EXPECT_EQ(a.link->lost(), (StageSpan{1, 1}));
}

TEST(Session, WhoJoinsASessionLateHasNoPartInIt) {
  const SocketDir dir;
  auto c = std::make_unique<FakeProcess>(fake_info(2, 3), dir.endpoint("c"));
  GrpcLink b(fake_link_options(dir.endpoint("c"), [] { return fake_info(1, 3); }));
  b.start([](const Result<StageOutput>&) {});
  const ChainSession session{"one", {}};
  b.restart(session);
  ASSERT_TRUE(eventually([&] { return b.health().has_value(); }));
  c.reset();
  ASSERT_TRUE(eventually([&] { return !b.health().has_value(); }));
  c = std::make_unique<FakeProcess>(fake_info(2, 3), dir.endpoint("c"));
  ASSERT_TRUE(eventually([&] { return b.health().has_value(); }));
  SequenceRows rows;
  rows.tokens = {TokenId(1)};
  rows.new_blocks = {BlockId(0)};
  StageInput step{{StepId(1), {rows}, {}}, make_boundary(StepId(1), 1, kFakeWidth, std::vector<bf16>(kFakeWidth))};
  EXPECT_FALSE(b.submit(std::move(step)).has_value()) << "stage A does not know yet that the stage is another one";
  b.restart(session);
  ASSERT_TRUE(eventually([&] { return b.health().has_value(); }));
  EXPECT_EQ(b.lost(), (StageSpan{2, 2}));
  b.stop();
}

TEST(Session, AStreamOverWhichALossWasToldIsOver) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(a.ready());
  b.local.fail(StepId(1), Code::kDataLoss);
  ASSERT_TRUE(a.submit(1).has_value());
  ASSERT_EQ(a.next_code(), Code::kDataLoss);
  ASSERT_TRUE(eventually([&] { return a.link->n_streams() == 2; })) << "no step goes where one was refused for good";
}

TEST(Session, AFreshStreamToTheSameStagesLosesNothing) {
  const SocketDir dir;
  FakeProcess c(fake_info(2, 3), dir.endpoint("c"));
  FakeProcess b(fake_info(1, 3), dir.endpoint("b"), dir.endpoint("c"));
  Caller a(dir.endpoint("b"), fake_info(0, 3), [](auto& options) {
    options.max_stream_age = 30ms;
    options.handshake_deadline = 2s;
  });
  ASSERT_TRUE(a.ready());
  const int n_before = c.n_forgets;  // B may have come by itself before A
  for (std::uint64_t id = 1; id < 4; ++id) {
    ASSERT_TRUE(a.submit(id).has_value());
    ASSERT_EQ(a.next_code(), Code::kOk);
    ASSERT_TRUE(eventually([&] { return a.link->wants_move(); }));
    a.link->move();
    ASSERT_TRUE(a.ready());
    EXPECT_TRUE(a.link->lost().empty());
  }
  EXPECT_GE(c.n_resets, 3);
  EXPECT_EQ(c.n_forgets, n_before);
}

TEST(Session, StagesKeepRowsForNobodyElse) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(a.ready());
  ASSERT_TRUE(a.submit(1).has_value());
  ASSERT_EQ(a.next_code(), Code::kOk);
  {
    // It began to run later, and the other is silent.
    Caller other(dir.endpoint("b"), fake_info(0, 2));
    std::uint64_t id = 1;
    ASSERT_TRUE(eventually([&] { return other.submit(++id).has_value() && other.next_code() == Code::kOk; }));
  }
  EXPECT_TRUE(eventually([&] { return a.link->health().has_value() && a.link->lost() == StageSpan{1, 1}; }));
}

TEST(Session, AStepThatNobodyAnsweredDoesNotCostTheRows) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2), [](auto& options) { options.step_deadline = 100ms; });
  ASSERT_TRUE(a.ready());
  ASSERT_TRUE(a.submit(1).has_value());
  ASSERT_EQ(a.next_code(), Code::kOk);
  for (std::uint64_t id = 2; id < 5; ++id) {
    b.local.hold(true);
    ASSERT_TRUE(a.submit(id).has_value());
    ASSERT_EQ(a.next_code(), Code::kDeadlineExceeded);
    b.local.hold(false);
    ASSERT_TRUE(a.ready());
    EXPECT_TRUE(a.link->lost().empty());
  }
}

TEST(Stream, AHungStageMeetsItsDeadline) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2), [](auto& options) { options.step_deadline = 100ms; });
  ASSERT_TRUE(a.ready());
  b.local.hold(true);
  ASSERT_TRUE(a.submit(0).has_value());
  ASSERT_TRUE(a.submit(1).has_value());
  EXPECT_EQ(a.next_code(), Code::kDeadlineExceeded);
  EXPECT_EQ(a.next_code(), Code::kDeadlineExceeded);
  b.local.hold(false);
  ASSERT_TRUE(a.ready());
  ASSERT_TRUE(a.submit(2).has_value());
  EXPECT_EQ(a.next_code(), Code::kOk);
}

/// What a link says while it waits; never that it gave a handshake up.
bool waits_for_work(const GrpcLink& link, std::uint64_t n_signs) {
  return eventually([&] {
    const Status health = link.health();
    EXPECT_TRUE(health || health.error().message().find("no handshake") == std::string::npos)
        << health.error().message();
    return link.n_signs() >= n_signs;
  });
}

TEST(Stream, AStageThatComputesForLongIsNotDead) {
  const SocketDir dir;
  FakeProcess c(fake_info(2, 3), dir.endpoint("c"));
  FakeProcess b(fake_info(1, 3), dir.endpoint("b"), dir.endpoint("c"));
  Caller a(dir.endpoint("b"), fake_info(0, 3), [](auto& options) { options.step_deadline = 1s; });
  ASSERT_TRUE(a.ready());
  for (FakeProcess* slow : {&b, &c}) {  // the word of stage c is passed on by stage b
    slow->local.compute_long(true);
    slow->local.hold(true);
    const auto begun = std::chrono::steady_clock::now();
    const std::uint64_t id = slow == &b ? 1 : 2;
    ASSERT_TRUE(a.submit(id).has_value());
    ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - begun > 1500ms; }));
    EXPECT_EQ(a.answers.size(), 0u) << "it was given up";
    slow->local.hold(false);
    EXPECT_EQ(a.next_code(), Code::kOk);
  }
  EXPECT_EQ(a.link->n_streams(), 1);
}

TEST(Stream, AStageThatStopsToComputeIsFound) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2), [](auto& options) { options.step_deadline = 200ms; });
  ASSERT_TRUE(a.ready());
  b.local.compute_long(true);
  b.local.hold(true);
  ASSERT_TRUE(a.submit(1).has_value());
  ASSERT_TRUE(eventually([&] { return a.link->n_signs() > 3; }));
  b.local.compute_long(false);
  EXPECT_EQ(a.next_code(), Code::kDeadlineExceeded);
  b.local.hold(false);
}

TEST(Stream, WorkOfTheCallersOwnStageCountsAsASign) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  std::atomic<std::uint64_t> n_done = 0;
  std::atomic<bool> works = true;
  Caller a(dir.endpoint("b"), fake_info(0, 2), [&](auto& options) {
    options.step_deadline = 500ms;
    options.n_done = [&] { return works ? ++n_done : n_done.load(); };
  });
  ASSERT_TRUE(a.ready());
  b.local.hold(true);
  ASSERT_TRUE(a.submit(1).has_value());
  ASSERT_TRUE(eventually([&] { return n_done > 20; })) << "one at each glance, 62 ms";
  EXPECT_EQ(a.answers.size(), 0u);
  works = false;
  EXPECT_EQ(a.next_code(), Code::kDeadlineExceeded);
  b.local.hold(false);
}

TEST(Handshake, WaitsForAStageThatIsStillAtWork) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  auto old = std::make_unique<Caller>(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(old->ready());
  b.local.compute_long(true);
  b.local.hold(true);
  ASSERT_TRUE(old->submit(0).has_value());
  ASSERT_TRUE(eventually([&] { return b.local.n_taken() == 1; }));
  old.reset();
  Caller fresh(dir.endpoint("b"), fake_info(0, 2), [](auto& options) { options.handshake_deadline = 500ms; });
  ASSERT_TRUE(waits_for_work(*fresh.link, 80)) << "80 words, 10 ms apart, are longer than the deadline";
  EXPECT_NE(fresh.link->health().error().message().find("at work on step 0"), std::string::npos)
      << fresh.link->health().error().message();
  EXPECT_NE(fresh.link->health().error().message().find("stage b ("), std::string::npos);
  b.local.hold(false);
  ASSERT_TRUE(fresh.ready());
  ASSERT_TRUE(fresh.submit(1).has_value());
  EXPECT_EQ(fresh.next_code(), Code::kOk);
  EXPECT_EQ(fresh.answers.size(), 0u) << "the old stream's answer is dropped";
}

TEST(Handshake, WithAFrozenStageIsGivenUp) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  auto old = std::make_unique<Caller>(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(old->ready());
  b.local.hold(true);
  ASSERT_TRUE(old->submit(0).has_value());
  ASSERT_TRUE(eventually([&] { return b.local.n_taken() == 1; }));
  old.reset();
  Caller fresh(dir.endpoint("b"), fake_info(0, 2), [](auto& options) { options.handshake_deadline = 100ms; });
  EXPECT_TRUE(
      eventually([&] { return fresh.link->health().error().message().find("no handshake") != std::string::npos; }));
  b.local.hold(false);
  EXPECT_TRUE(fresh.ready());
}

bool is_refused(const Caller& caller, Code code, const char* why) {
  return eventually([&] {
    const Status health = caller.link->health();
    return !health && health.error().code() == code && health.error().message().find(why) != std::string::npos;
  });
}

TEST(Succession, TheOlderStageAWorksUntilItIsSilentAndThenTheNewerOneStays) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller old(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(old.ready());
  b.local.hold(true);
  ASSERT_TRUE(old.submit(0).has_value());
  ASSERT_TRUE(eventually([&] { return b.local.n_taken() == 1; }));
  auto fresh = std::make_unique<Caller>(dir.endpoint("b"), fake_info(0, 2));
  EXPECT_TRUE(is_refused(*fresh, Code::kUnavailable, "which is at work"));
  EXPECT_EQ(old.answers.size(), 0u) << "its work goes on";
  b.local.hold(false);
  EXPECT_EQ(old.next_code(), Code::kOk);
  ASSERT_TRUE(fresh->ready()) << "the older one is silent now";
  for (std::uint64_t id = 0; id < 20; ++id) {
    ASSERT_TRUE(fresh->submit(id).has_value());
    EXPECT_EQ(fresh->next_code(), Code::kOk);
  }
  EXPECT_TRUE(is_refused(old, Code::kAborted, "began to run later")) << "however often it comes";
  EXPECT_EQ(b.service->n_streams(), 2);
  EXPECT_EQ(fresh->link->n_streams(), 1);
  fresh.reset();
  EXPECT_TRUE(old.ready()) << "nobody else is there";
}

TEST(Succession, TheOlderStageAHasItsTimeToFinish) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"), {}, true, {}, 100ms);
  Caller old(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(old.ready());
  b.local.hold(true);
  ASSERT_TRUE(old.submit(0).has_value());
  ASSERT_TRUE(eventually([&] { return b.local.n_taken() == 1; }));
  Caller fresh(dir.endpoint("b"), fake_info(0, 2));
  const auto lost = old.next();
  ASSERT_FALSE(lost.has_value());
  EXPECT_NE(lost.error().message().find("replaced by a newer stage A"), std::string::npos) << lost.error().message();
  b.local.hold(false);
  ASSERT_TRUE(fresh.ready());
  EXPECT_TRUE(is_refused(old, Code::kAborted, "began to run later"));
  ASSERT_TRUE(fresh.submit(0).has_value());
  EXPECT_EQ(fresh.next_code(), Code::kOk);
  EXPECT_EQ(fresh.answers.size(), 0u) << "the old stream's answer is dropped";
}

TEST(Stream, StopAnswersWhatIsInFlightWithCancelled) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(a.ready());
  b.local.hold(true);
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(a.submit(i).has_value());
  a.link->stop();
  ASSERT_EQ(a.answers.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(a.next_code(), Code::kCancelled);
  EXPECT_EQ(a.submit(4).error().code(), Code::kUnavailable);
}

TEST(Stream, HoldsTheSenderBackWhenTheStageIsFull) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2), [](auto& options) { options.max_in_flight = 2; });
  ASSERT_TRUE(a.ready());
  b.local.hold(true);
  ASSERT_TRUE(a.submit(0).has_value());
  ASSERT_TRUE(a.submit(1).has_value());
  std::atomic<bool> third = false;
  std::jthread submitter([&] {
    EXPECT_TRUE(a.submit(2).has_value());
    third = true;
  });
  EXPECT_FALSE(third);
  b.local.hold(false);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(a.next_code(), Code::kOk);
}

TEST(Stream, AGracefulStopAnswersWhatIsInFlight) {
  const SocketDir dir;
  auto b = std::make_unique<FakeProcess>(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(a.ready());
  b->local.hold(true);
  ASSERT_TRUE(a.submit(0).has_value());
  ASSERT_TRUE(eventually([&] { return b->local.n_taken() == 1; }));
  std::jthread stopper([&] { b->server->stop(std::chrono::duration_cast<std::chrono::milliseconds>(kPatience)); });
  ASSERT_TRUE(eventually([&] { return a.link->wants_move(); })) << "the goodbye arrives";
  ASSERT_TRUE(a.submit(1).has_value()) << "a step that was on its way is not lost";
  b->local.hold(false);
  EXPECT_EQ(a.next_code(), Code::kOk);
  EXPECT_EQ(a.next_code(), Code::kOk);
  a.link->move();
  stopper.join();
  EXPECT_FALSE(a.link->health().has_value());
  b = std::make_unique<FakeProcess>(fake_info(1, 2), dir.endpoint("b"));
  ASSERT_TRUE(a.ready());
  EXPECT_FALSE(a.link->wants_move());
  EXPECT_EQ(a.submit(2, true).error().code(), Code::kUnavailable) << "sequence 1 is to be recreated";
  ASSERT_TRUE(a.submit(3).has_value());
  EXPECT_EQ(a.next_code(), Code::kOk);
}

TEST(Stream, AGoodbyeFurtherDownReachesStageA) {
  const SocketDir dir;
  auto c = std::make_unique<FakeProcess>(fake_info(2, 3), dir.endpoint("c"));
  FakeProcess b(fake_info(1, 3), dir.endpoint("b"), dir.endpoint("c"));
  Caller a(dir.endpoint("b"), fake_info(0, 3));
  ASSERT_TRUE(a.ready());
  ASSERT_TRUE(a.submit(0).has_value());
  EXPECT_EQ(a.next_code(), Code::kOk);
  std::jthread stopper([&] { c->server->stop(std::chrono::duration_cast<std::chrono::milliseconds>(kPatience)); });
  ASSERT_TRUE(eventually([&] { return a.link->wants_move(); }));
  ASSERT_TRUE(a.submit(1).has_value());
  EXPECT_EQ(a.next_code(), Code::kOk) << "stage c still answers";
  a.link->move();
  stopper.join();
  c = std::make_unique<FakeProcess>(fake_info(2, 3), dir.endpoint("c"));
  ASSERT_TRUE(a.ready());
  ASSERT_TRUE(a.submit(2).has_value());
  EXPECT_EQ(a.next_code(), Code::kOk);
}

TEST(Stream, AsksForAMoveBeforeItGetsTooOld) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2), [](auto& options) {
    options.max_stream_age = 50ms;
    options.handshake_deadline = 5s;
  });
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(eventually([&] { return a.link->wants_move() && a.link->n_streams() == i; }));
    EXPECT_TRUE(a.link->health().has_value()) << "it goes on until it is moved";
    a.link->move();
  }
}

TEST(StepPace, TellsASlowStepFromOneThatWillNeverCome) {
  StepPace pace;
  EXPECT_EQ(pace.deadline(1, 15s, 60s), 60s) << "nothing to judge by yet";
  for (int i = 0; i < 20; ++i) pace.note(10ms, 1);
  EXPECT_EQ(pace.deadline(1, 15s, 60s), 15s);
  pace.note(1s, 1);
  EXPECT_EQ(pace.deadline(1, 15s, 60s), 30s);
  pace.note(5s, 1);
  EXPECT_EQ(pace.deadline(1, 15s, 60s), 60s);
  EXPECT_EQ(pace.deadline(600, 15s, 60s), 60s) << "a single row says nothing of many";
  for (int i = 0; i < 1000; ++i) pace.note(10ms, 1);
  EXPECT_EQ(pace.deadline(1, 15s, 60s), 15s) << "an old extreme fades";
  EXPECT_EQ(pace.deadline(1, 100ms, 100ms), 100ms);
}

TEST(StepPace, TheDeadlineFollowsTheRows) {
  StepPace pace;
  for (int i = 0; i < 24; ++i) pace.note(500ms, 1);
  EXPECT_EQ(pace.deadline(512, 15s, 60s), 15s);
  pace.note(50s, 100);
  EXPECT_EQ(pace.deadline(1, 15s, 60s), 60s);
  EXPECT_EQ(pace.deadline(100, 15s, 60s), 100s);
  EXPECT_EQ(pace.deadline(200, 15s, 60s), 200s);
  EXPECT_EQ(pace.deadline(4096, 15s, 60s), 600s) << "ten times the bound at most";
}

/// A peer that speaks raw bytes, to send what a correct one would not.
class RawPeer {
 public:
  explicit RawPeer(const Endpoint& endpoint) : stub_(open_channel(endpoint, {})) {
    context_.set_deadline(std::chrono::system_clock::now() + kPatience);
    stream_ = stub_.PrepareCall(&context_, "/commissure.v1.Stage/Open", &queue_);
    stream_->StartCall(this);
    wait();
  }
  ~RawPeer() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  bool send(const grpc::ByteBuffer& message) {
    stream_->Write(message, this);
    return wait();
  }
  bool receive(grpc::ByteBuffer& message) {
    stream_->Read(&message, this);
    return wait();
  }
  grpc::StatusCode end() {
    grpc::ByteBuffer ignored;
    while (receive(ignored)) {
    }
    grpc::Status status;
    stream_->Finish(&status, this);
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
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

grpc::ByteBuffer raw(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

TEST(Stream, RefusesGarbageAndFramesThatAreTooLarge) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  for (const std::string& bytes : {std::string("garbage"), std::string(), std::string(5000, '\xff')}) {
    RawPeer peer(dir.endpoint("b"));
    peer.send(raw(bytes));
    EXPECT_EQ(peer.end(), grpc::StatusCode::DATA_LOSS);
  }
  const auto big = grpc::Slice(std::string((64u << 20) + 4096, 'x'));
  RawPeer peer(dir.endpoint("b"));
  peer.send(grpc::ByteBuffer(&big, 1));
  EXPECT_EQ(peer.end(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST(Stream, RefusesStepsOfASessionWithoutAName) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  RawPeer peer(dir.endpoint("b"));
  Hello hello;
  hello.stages = {fake_info(0, 2)};
  peer.send(encode_frame(hello));
  grpc::ByteBuffer answer;
  ASSERT_TRUE(peer.receive(answer));
  StageInput step;
  step.batch.step = StepId(1);
  peer.send(encode_frame(step.batch, step.boundary));
  EXPECT_EQ(peer.end(), grpc::StatusCode::DATA_LOSS);
}

TEST(Succession, OfStreamsOfOneStageATheNewerReplacesTheOlder) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  const auto hello = [](const char* session, StreamEpoch epoch) {
    Hello said;
    said.session = session;
    said.epoch = epoch;
    said.stages = {fake_info(0, 2)};
    return encode_frame(said);
  };
  grpc::ByteBuffer answer;
  RawPeer first(dir.endpoint("b")), second(dir.endpoint("b")), late(dir.endpoint("b")), nobody(dir.endpoint("b"));
  first.send(hello("one", {7, 1}));
  ASSERT_TRUE(first.receive(answer));
  second.send(hello("two", {7, 3}));
  EXPECT_EQ(first.end(), grpc::StatusCode::ABORTED);
  ASSERT_TRUE(second.receive(answer));
  late.send(hello("late", {7, 2}));
  EXPECT_EQ(late.end(), grpc::StatusCode::ABORTED);
  nobody.send(hello("", {}));
  EXPECT_EQ(nobody.end(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(b.service->n_streams(), 2);
}

TEST(Succession, AStreamIsBrokenOnPurposeFromThisMachinesSocketsAlone) {
  FakeProcess b(fake_info(1, 2), Endpoint{"127.0.0.1:0", false, true});
  RawPeer peer(*parse_endpoint(fmt::format("http://127.0.0.1:{}", b.server->port())));
  Hello hello;
  hello.session = "breaks";
  hello.epoch = {kBreakingHead, 0};
  hello.stages = {fake_info(0, 2)};
  peer.send(encode_frame(hello));
  EXPECT_EQ(peer.end(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST(Stream, RefusesAnotherVersionStepsBeforeHelloAndStepsOutOfOrder) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  StageInput step;
  step.batch.step = StepId(5);
  {
    RawPeer peer(dir.endpoint("b"));
    Hello hello;
    hello.protocol_version = 99;
    hello.stages = {fake_info(0, 2)};
    peer.send(encode_frame(hello));
    EXPECT_EQ(peer.end(), grpc::StatusCode::FAILED_PRECONDITION);
  }
  {
    RawPeer peer(dir.endpoint("b"));
    peer.send(encode_frame(step.batch, step.boundary));
    EXPECT_EQ(peer.end(), grpc::StatusCode::DATA_LOSS);
  }
  RawPeer peer(dir.endpoint("b"));
  Hello hello;
  hello.session = "mine";
  hello.stages = {fake_info(0, 2)};
  peer.send(encode_frame(hello));
  grpc::ByteBuffer answer;
  ASSERT_TRUE(peer.receive(answer));
  EXPECT_TRUE(std::holds_alternative<Hello>(decode_frame(answer).value()));
  peer.send(encode_frame(step.batch, step.boundary));
  ASSERT_TRUE(peer.receive(answer));
  step.batch.step = StepId(4);
  peer.send(encode_frame(step.batch, step.boundary));
  EXPECT_EQ(peer.end(), grpc::StatusCode::DATA_LOSS);
}

#ifdef COMMISSURE_FAILING_NEW
constexpr std::size_t kLists = sizeof(TokenId) * kMaxTokenList;

/// A step whose parameters hold one large list.
StageInput large_step(std::uint64_t id) {
  StageInput input = step_of_one_row(id);
  SamplingParams& params = input.batch.slices.front().params.emplace();
  params.allowed.assign(kMaxTokenList, TokenId(3));
  return input;
}

TEST(Stream, AStepThatCannotBeEncodedIsRefusedAlone) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(a.ready());
  StageInput large = large_step(0);
  {
    const FailingNew failing(kLists / 2, FailingNew::Where::kHere);
    const Status refused = a.link->submit(std::move(large));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), Code::kResourceExhausted) << refused.error().message();
    EXPECT_GT(failing.n_failed(), 0);
  }
  ASSERT_TRUE(a.submit(1).has_value());
  EXPECT_EQ(a.next_code(), Code::kOk);
  EXPECT_EQ(a.link->n_streams(), 1);
}

TEST(Stream, AMessageThatCannotBeDecodedEndsItsStreamAndNoProcess) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  Caller a(dir.endpoint("b"), fake_info(0, 2));
  ASSERT_TRUE(a.ready());
  {
    const FailingNew failing(kLists);
    ASSERT_TRUE(a.link->submit(large_step(0)).has_value());
    EXPECT_EQ(a.next_code(), Code::kUnavailable);
    EXPECT_GT(failing.n_failed(), 0);
  }
  ASSERT_TRUE(a.ready());
  ASSERT_TRUE(a.link->submit(large_step(1)).has_value());
  EXPECT_EQ(a.next_code(), Code::kOk);
}
#endif

}  // namespace
}  // namespace commissure
