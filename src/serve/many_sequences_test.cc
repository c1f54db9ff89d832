#include <gtest/gtest.h>

#include "support/engine_test_support.h"
#include "support/eventually.h"
#include "support/fake_stage.h"

// The engine over a real stream between two stages.

namespace commissure {
namespace {

/// As large as the API lets the lists of a sequence be, and like no other request's.
GenerationRequest maximal_request(std::uint64_t seed) {
  GenerationRequest request = make_request(4, 1, seed);
  request.sampling.allowed.assign(kMaxTokenList, TokenId('a'));
  request.sampling.banned.assign(24'576 - kMaxTokenList, TokenId('b'));
  for (int bit = 0; bit < 16; ++bit) {
    if ((seed >> bit & 1) != 0) request.sampling.allowed[bit] = TokenId('c');
  }
  request.ignore_eos = true;
  return request;
}

TEST(ManySequences, AThousandWithMaximalParametersLeaveTheChainWhole) {
  constexpr int kMany = 1024;
  const SocketDir dir;
  StageInfo first = fake_info(0, 2), last = fake_info(1, 2);
  first.max_rows = last.max_rows = 4096;
  FakeProcess b(last, dir.endpoint("b"));
  FakeLocalLink local(first);
  GrpcLink link(fake_link_options(dir.endpoint("b"), [first] { return first; }));
  ChainLink chain(local, link);
  EngineOptions options = small_options();
  options.max_sequences = kMany;
  options.queue_limit = kMany;
  options.max_step_rows = 4096;
  options.n_kv_blocks = 2 * kMany + 64;
  options.max_slowdown = 0;  // no prompt is computed in parts: the fake stage samples after every slice
  const std::unique_ptr<Engine> engine = Engine::create(fake_model(), options, chain);
  ASSERT_TRUE(testing::eventually([&] { return engine->health().has_value(); }));

  Collector bystander;
  GenerationRequest small = make_request(4, 100, 7);
  small.ignore_eos = true;
  ASSERT_TRUE(engine->submit(small, bystander.sink()).has_value());
  std::vector<Collector> many(kMany);
  for (int i = 0; i < kMany; ++i) {
    const auto handle = engine->submit(maximal_request(static_cast<std::uint64_t>(i)), many[i].sink());
    ASSERT_TRUE(handle.has_value()) << handle.error().message();
  }
  for (const Collector& one : many) {
    const Answer& answer = one.wait();
    ASSERT_EQ(answer.finish, FinishReason::kLength) << (answer.error ? answer.error->message() : "");
  }
  EXPECT_EQ(bystander.wait().usage.completion_tokens, 100);
  EXPECT_FALSE(bystander.wait().error.has_value());
  EXPECT_EQ(link.n_streams(), 1) << "the chain never broke";
  EXPECT_EQ(engine->stats().replays + engine->stats().kept, 0u);
}

}  // namespace
}  // namespace commissure
