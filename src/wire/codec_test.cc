#include "wire/codec.h"

#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "core/index.h"
#include "wire/codec_values.h"

namespace commissure {
namespace {

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

/// The same bytes, cut into slices of `piece` bytes as a network may deliver them.
grpc::ByteBuffer in_pieces(const std::string& bytes, std::size_t piece) {
  std::vector<grpc::Slice> slices;
  for (std::size_t at = 0; at < bytes.size(); at += piece) slices.emplace_back(bytes.substr(at, piece));
  return {slices.data(), slices.size()};
}

grpc::ByteBuffer as_message(const std::string& bytes) { return in_pieces(bytes, bytes.size() + 1); }

struct Random {
  std::mt19937_64 engine;
  std::uint64_t below(std::uint64_t limit) { return engine() % limit; }
  template <typename IdType>
  std::vector<IdType> ids(std::size_t n) {
    std::vector<IdType> ids;
    for (std::size_t i = 0; i < n; ++i) ids.emplace_back(static_cast<decltype(IdType::value)>(engine() >> 33));
    return ids;
  }
  float number() { return static_cast<float>(below(1000)) / 7.0f; }
};

SamplingParams random_params(Random& random) {
  SamplingParams params;
  params.temperature = random.number();
  params.top_k = 3;
  params.top_p = random.number();
  params.min_p = random.number();
  params.seed = random.engine();
  params.n_logprobs = -1 + static_cast<int>(random.below(22));
  params.banned = random.ids<TokenId>(random.below(3));
  if (random.below(3) == 0) return params;
  params.allowed = random.ids<TokenId>(random.below(3));
  for (std::uint64_t i = random.below(3); i > 0; --i) {
    params.bad_sequences.push_back(random.ids<TokenId>(1 + random.below(4)));
  }
  for (std::uint64_t i = random.below(3); i > 0; --i) params.logit_bias.push_back({TokenId(7), random.number()});
  params.n_prompt = static_cast<int>(random.below(100));
  params.min_tokens = static_cast<int>(random.below(100));
  params.end_tokens = random.ids<TokenId>(random.below(3));
  for (float* value :
       {&params.repetition_penalty, &params.presence_penalty, &params.frequency_penalty, &params.typical_p,
        &params.top_n_sigma, &params.xtc_probability, &params.xtc_threshold, &params.dry.multiplier}) {
    *value = random.number();
  }
  params.dry.breakers = random.ids<TokenId>(random.below(3));
  params.mirostat.is_on = random.below(2) == 1;
  if (params.mirostat.is_on) params.mirostat.mu = random.number();
  params.processed_logprobs = random.below(2) == 1;
  return params;
}

/// Of few tokens or of most.
TokenMask random_mask(Random& random) {
  std::vector<std::uint32_t> words(1 + random.below(600));
  const bool is_full = random.below(2) == 1;
  for (std::uint32_t& word : words) {
    if (is_full || random.below(50) == 0) word = static_cast<std::uint32_t>(random.engine());
  }
  words[random.below(words.size())] |= 1;
  return TokenMask(std::move(words));
}

StageInput random_step(Random& random) {
  StageInput input;
  input.batch.step = StepId(random.engine());
  for (std::uint64_t i = random.below(5); i > 0; --i) {
    SequenceRows rows;
    rows.sequence = SequenceId(random.engine());
    rows.first_position = static_cast<std::int32_t>(random.below(1 << 20));
    rows.tokens = random.ids<TokenId>(1 + random.below(40));
    rows.table_start = static_cast<std::int32_t>(random.below(100));
    rows.new_blocks = random.ids<BlockId>(random.below(10));
    rows.window_start = static_cast<std::int32_t>(random.below(100));
    rows.new_window_blocks = random.ids<BlockId>(random.below(10));
    rows.sample = random.below(2) == 1;
    if (random.below(2) == 1) {
      rows.params = random_params(random);
      if (random.below(2) == 1) rows.history = random.ids<TokenId>(random.below(20));
    }
    if (random.below(2) == 1) rows.targets = random.ids<TokenId>(rows.tokens.size());
    if (rows.sample && random.below(2) == 1) rows.mask = random_mask(random);
    if (random.below(3) == 0) {
      rows.images.push_back({static_cast<int>(random.below(1 << 20)), static_cast<int>(random.below(300)), true});
    }
    input.batch.slices.push_back(rows);
  }
  input.batch.released = random.ids<SequenceId>(random.below(4));
  for (std::size_t slice = random.below(3); slice < input.batch.slices.size(); slice += 2) {
    input.batch.traces.push_back(
        {static_cast<std::int32_t>(slice), 7, {std::string(32, 'a'), std::string(16, 'b'), true}});
  }
  const int n_rows = input.batch.n_rows();
  const int d_model = 1 + static_cast<int>(random.below(64));
  std::vector<bf16> values(static_cast<std::size_t>(n_rows * d_model));
  for (bf16& value : values) value = static_cast<bf16>(random.engine());
  input.boundary = make_boundary(input.batch.step, n_rows, d_model, std::move(values));
  return input;
}

SampledTokens random_tokens(Random& random) {
  const auto scored = [&] {
    ScoredToken token{{TokenId(static_cast<std::int32_t>(random.below(300000))), -random.number()}, {}};
    for (std::uint64_t i = random.below(4); i > 0; --i) token.top.push_back({TokenId(3), -random.number()});
    return token;
  };
  SampledTokens tokens{StepId(random.engine()), {}, {}};
  for (std::uint64_t i = random.below(5); i > 0; --i) {
    SequenceResult result{SequenceId(random.engine()), {}, {}};
    if (random.below(2) == 1) result.sampled = scored();
    result.no_choice = !result.sampled;
    if (random.below(2) == 1) result.mirostat_mu = random.number();
    for (std::uint64_t n = random.below(4); n > 0; --n) result.scored.push_back(scored());
    tokens.results.push_back(result);
  }
  tokens.timings = {{"a", 1, 2, 3, {7, 0, 0xFFFFFFFF}}, {"b", 4, std::numeric_limits<std::uint32_t>::max(), 6}};
  tokens.timings[1].has_span = true;
  return tokens;
}

StageInfo some_info() {
  StageInfo info;
  info.model = "SmolLM2";
  info.fingerprint = "12ab";
  info.plan = {1, 3, 30, {10, 20}};
  info.precision = "fast";
  info.kv_dtype = "int8";
  info.device = "cpu";
  info.isa = "avx512";
  info.d_model = 576;
  info.row_width = 1152;
  info.n_kv_blocks = 128;
  info.n_states = 17;
  info.max_rows = 512;
  info.state = LoadState::kLoading;
  info.problem = "disk";
  info.weight_bytes = 1ull << 40;
  info.loaded_bytes = 5;
  info.source_bytes_read = 6;
  info.resident_bytes = 7;
  info.private_bytes = 8;
  info.load_ms = 9;
  info.pid = 10;
  return info;
}

void expect_broken(const grpc::ByteBuffer& message, Checksum checksum = Checksum::kVerify) {
  const auto frame = decode_frame(message, checksum);
  ASSERT_FALSE(frame.has_value());
  EXPECT_EQ(frame.error().code(), Code::kDataLoss);
}

/// By what it says, not only by its checksum.
void expect_broken_inside(const grpc::ByteBuffer& message) { expect_broken(message, Checksum::kIgnore); }

TEST(Codec, BringsRandomStepsBackInAnySlicing) {
  Random random{std::mt19937_64(11)};
  for (int round = 0; round < 300; ++round) {
    const StageInput input = random_step(random);
    const std::string bytes = bytes_of(encode_frame(input.batch, input.boundary));
    for (const std::size_t piece : {bytes.size() + 1, std::size_t{1}, std::size_t{7}, std::size_t{64}}) {
      const auto frame = decode_frame(in_pieces(bytes, piece));
      ASSERT_TRUE(frame.has_value()) << frame.error().message();
      const auto& output = std::get<StageInput>(*frame);
      EXPECT_EQ(output.batch, input.batch);
      EXPECT_EQ(output.boundary.step, input.batch.step);
      EXPECT_EQ(output.boundary.n_rows, input.boundary.n_rows);
      EXPECT_EQ(output.boundary.d_model, input.boundary.d_model);
      EXPECT_TRUE(std::ranges::equal(output.boundary.values, input.boundary.values));
    }
  }
}

TEST(Codec, BringsResultsErrorsAndHellosBack) {
  Random random{std::mt19937_64(12)};
  for (int round = 0; round < 300; ++round) {
    const SampledTokens tokens = random_tokens(random);
    const auto output = std::get<SampledTokens>(decode_frame(encode_frame(tokens)).value());
    EXPECT_EQ(output.step, tokens.step);
    EXPECT_EQ(output.results, tokens.results);
    EXPECT_EQ(output.timings, tokens.timings);
  }
  const Hello hello{1,
                    64,
                    "session",
                    {"a", "b"},
                    {some_info(), some_info()},
                    {"earlier", "latest"},
                    {true, false},
                    {1234567890123456, 7}};
  EXPECT_EQ(std::get<Hello>(decode_frame(encode_frame(hello)).value()), hello);
  const auto error =
      std::get<StepError>(decode_frame(encode_frame(StepError{StepId(4), Error(Code::kNotFound, "x")})).value());
  EXPECT_EQ(error.step, StepId(4));
  EXPECT_EQ(error.error, Error(Code::kNotFound, "x"));
  EXPECT_EQ(std::get<Goodbye>(decode_frame(encode_frame(Goodbye{"bye"})).value()).reason, "bye");
  EXPECT_EQ(std::get<Busy>(decode_frame(encode_frame(Busy{"at work"})).value()).reason, "at work");
}

TEST(Codec, IsPlainProtobufForEveryOtherProgram) {
  Random random{std::mt19937_64(13)};
  StageInput input = random_step(random);
  while (input.boundary.empty()) input = random_step(random);
  v1::Frame frame;
  ASSERT_TRUE(frame.ParseFromString(bytes_of(encode_frame(input.batch, input.boundary))));
  EXPECT_EQ(frame.rows().size(), input.boundary.values.size_bytes());
  EXPECT_EQ(std::get<StageInput>(decode_frame(as_message(frame.SerializeAsString())).value()).batch, input.batch);
}

TEST(Codec, SendsTheRowsWithoutCopyingThem) {
  StageInput input;
  input.batch.slices.push_back({SequenceId(1), 0, {TokenId(5)}, 0, {BlockId(0)}, false, {}, {}});
  input.boundary = make_boundary(StepId(0), 1, 576, std::vector<bf16>(576, 3));
  const grpc::ByteBuffer message = encode_frame(input.batch, input.boundary);
  EXPECT_EQ(input.boundary.owner.use_count(), 2) << "the message shares the buffer";
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(message.Dump(&slices).ok());
  EXPECT_EQ(static_cast<const void*>(slices.back().begin()), static_cast<const void*>(input.boundary.values.data()));
}

TEST(Codec, RefusesEveryTruncationAndEveryChangedCount) {
  StageInput input;
  input.batch.slices.push_back({SequenceId(1), 0, {TokenId(5), TokenId(6)}, 0, {BlockId(0)}, true, {}, {}});
  input.boundary = make_boundary(StepId(0), 2, 3, {1, 2, 3, 4, 5, 6});
  const std::string bytes = bytes_of(encode_frame(input.batch, input.boundary));
  for (std::size_t length = 0; length < bytes.size(); ++length) expect_broken(as_message(bytes.substr(0, length)));
  expect_broken(as_message(bytes + "x"));

  const auto changed = [&](auto change) {
    v1::Frame frame;
    frame.ParseFromString(bytes);
    change(frame);
    return as_message(frame.SerializeAsString());
  };
  expect_broken_inside(changed([](auto& f) { f.mutable_step()->set_n_rows(3); }));
  expect_broken_inside(changed([](auto& f) { f.mutable_step()->set_d_model(4); }));
  expect_broken_inside(changed([](auto& f) { f.mutable_step()->set_d_model(-3); }));
  expect_broken_inside(changed([](auto& f) { f.mutable_step()->set_d_model(2147483647); }));
  expect_broken_inside(changed([](auto& f) { f.mutable_step()->mutable_slices(0)->set_tokens(0, -1); }));
  expect_broken_inside(changed([](auto& f) { f.mutable_step()->mutable_slices(0)->set_new_blocks(0, -2); }));
  expect_broken_inside(changed([](auto& f) { f.mutable_step()->mutable_slices(0)->add_new_window_blocks(-2); }));
  expect_broken_inside(changed([](auto& f) { f.mutable_rows()->resize(11); }));
  const auto traced = [&](int choice, std::string parent, int n = 1) {
    return changed([&](auto& f) {
      for (; n > 0; --n) {
        v1::SliceTrace& trace = *f.mutable_step()->add_traces();
        trace.set_choice(choice);
        trace.set_traceparent(parent);
      }
    });
  };
  const std::string parent = to_traceparent({std::string(32, 'a'), std::string(16, 'b'), true});
  EXPECT_TRUE(decode_frame(traced(0, parent), Checksum::kIgnore).has_value());
  expect_broken_inside(traced(-1, parent));
  expect_broken_inside(traced(0, parent, 2));
  expect_broken_inside(traced(0, ""));
  expect_broken_inside(traced(0, parent.substr(1)));
  expect_broken_inside(traced(0, "01" + parent.substr(2) + "-more"));
  expect_broken_inside(traced(0, "00-" + std::string(32, '0') + "-00f067aa0ba902b7-01"));
  for (const auto& [first, last] : {std::pair(0, 1), {3, 2}, {-1, -1}, {1, 26}, {2147483647, -2147483647}}) {
    expect_broken_inside(changed([&](auto& f) {
      f.mutable_step()->set_rebuild_first(first);
      f.mutable_step()->set_rebuild_last(last);
    }));
  }
  expect_broken_inside(changed([](auto& f) { f.clear_step(); }));
  expect_broken_inside(changed([](auto& f) { f.mutable_goodbye(); }));
}

TEST(Codec, RefusesHeadersOverTheirLimitAndUnknownFields) {
  v1::Frame frame;
  frame.mutable_goodbye()->set_reason(std::string(kMaxStepHeaderBytes + 1, 'x'));
  expect_broken(as_message(frame.SerializeAsString()));
  expect_broken(as_message(""));
  expect_broken(as_message(std::string("\x32\x00", 2)));
  expect_broken(as_message(std::string("\x08\x01", 2)));
  const std::string two = bytes_of(encode_frame(Goodbye{"a"})) + bytes_of(encode_frame(Goodbye{"b"}));
  expect_broken(as_message(two));
}

TEST(Codec, CutsThePeersWords) {
  const std::string words(100'000, 'x');
  const auto sent = [&](auto fill) {
    v1::Frame frame;
    fill(frame);
    return decode_frame(as_message(frame.SerializeAsString()), Checksum::kIgnore).value();
  };
  EXPECT_EQ(std::get<Goodbye>(sent([&](auto& f) { f.mutable_goodbye()->set_reason(words); })).reason.size(), 1024u);
  EXPECT_EQ(std::get<Busy>(sent([&](auto& f) { f.mutable_busy()->set_reason(words); })).reason.size(), 1024u);
  const auto error = std::get<StepError>(sent([&](auto& f) { f.mutable_error()->set_message(words); }));
  EXPECT_EQ(error.error.message().size(), 1024u);
}

TEST(Codec, RefusesStagesThatNoChainCanHave) {
  const auto refuse = [](auto change) {
    v1::StageInfo message;
    encode(some_info(), message);
    change(message);
    const auto info = decode(message);
    ASSERT_FALSE(info.has_value());
    EXPECT_EQ(info.error().code(), Code::kDataLoss);
  };
  refuse([](auto& m) { m.set_index(26); });
  refuse([](auto& m) { m.set_index(-1); });
  refuse([](auto& m) { m.set_n_stages(0); });
  refuse([](auto& m) { m.set_state(static_cast<v1::StageInfo::LoadState>(9)); });
  refuse([](auto& m) { m.set_max_rows(-1); });
  refuse([](auto& m) { m.set_model(std::string(5000, 'm')); });
}

TEST(Codec, AStepThatRebuildsHasRowsWhereItIsComputed) {
  StepBatch batch;
  batch.step = StepId(4);
  batch.slices.push_back({SequenceId(1), 0, {TokenId(5), TokenId(6)}, 0, {BlockId(0)}, false, {}, {}});
  batch.rebuild = {2, 3};
  const Boundary rows = make_boundary(batch.step, 2, 3, {1, 2, 3, 4, 5, 6});
  const Boundary none{.step = batch.step, .n_rows = 0, .d_model = 3, .values = {}, .owner = {}};
  for (const Boundary& boundary : {rows, none}) {
    const auto back = std::get<StageInput>(decode_frame(encode_frame(batch, boundary)).value());
    EXPECT_EQ(back.batch, batch);
    EXPECT_EQ(back.boundary.n_rows, boundary.n_rows);
  }
  batch.rebuild = {};
  EXPECT_FALSE(decode_frame(encode_frame(batch, none)).has_value()) << "a plain step always has its rows";
}

TEST(Codec, MapsStatusBothWaysAndShortensMessages) {
  const Error error(Code::kFailedPrecondition, "wrong chain");
  EXPECT_EQ(from_grpc(to_grpc(error)), error);
  EXPECT_LE(to_grpc(Error(Code::kInternal, std::string(100000, 'x'))).error_message().size(), 1024u);
  EXPECT_EQ(from_grpc(grpc::Status(static_cast<grpc::StatusCode>(20), "?")).code(), Code::kUnknown);
}

TEST(Codec, NoticesEveryChangedBit) {
  StepBatch batch;
  batch.slices.push_back({SequenceId(1), 0, {TokenId(5), TokenId(6)}, 0, {BlockId(0)}, true, {}, {}});
  const std::string frames[] = {bytes_of(encode_frame(batch, make_boundary(StepId(0), 2, 3, {1, 2, 3, 4, 5, 6}))),
                                bytes_of(encode_frame(StepError{StepId(3), Error(Code::kInternal, "x")})),
                                bytes_of(encode_frame(Goodbye{"leaving"})), bytes_of(encode_frame(Busy{"at work"}))};
  for (const std::string& good : frames) {
    ASSERT_TRUE(decode_frame(as_message(good)).has_value());
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
      std::string bad = good;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
      for (const std::size_t piece : {std::size_t{3}, bad.size()}) {
        const auto frame = decode_frame(in_pieces(bad, piece));
        ASSERT_FALSE(frame.has_value()) << "bit " << bit;
        EXPECT_EQ(frame.error().code(), Code::kDataLoss);
      }
    }
  }
}

/// A step of `n` new sequences with these parameters, each with one row.
StepBatch step_with(const SamplingParams& params, int n) {
  StepBatch batch;
  for (int i = 0; i < n; ++i) {
    SequenceRows rows;
    rows.sequence = SequenceId(static_cast<std::uint64_t>(i) + 1);
    rows.tokens = {TokenId(5)};
    rows.new_blocks = {BlockId(i)};
    rows.params = params;
    rows.params->seed = static_cast<std::uint64_t>(i);
    batch.slices.push_back(rows);
  }
  return batch;
}

SamplingParams long_lists() {
  SamplingParams params;
  params.banned.assign(1000, TokenId(std::numeric_limits<std::int32_t>::max()));
  params.allowed = params.end_tokens = params.dry.breakers = params.banned;
  params.logit_bias.assign(kMaxBiases, {TokenId(std::numeric_limits<std::int32_t>::max()), -100.0f});
  params.bad_sequences.assign(50, params.banned);
  for (auto& sequence : params.bad_sequences) sequence.resize(kMaxBadTokens);
  params.bad_sequences.resize(kMaxBadSequences, {TokenId(std::numeric_limits<std::int32_t>::max())});
  params.min_tokens = params.n_prompt = params.top_k = std::numeric_limits<std::int32_t>::max();
  params.repetition_penalty = params.presence_penalty = params.frequency_penalty = params.typical_p = 1.5f;
  params.top_n_sigma = params.xtc_probability = params.xtc_threshold = params.dry.multiplier = 0.5f;
  params.mirostat = {true, 1.0f, 2.0f, 3.0f};
  return params;
}

std::size_t header_of(const StepBatch& batch) {
  return encode_frame(batch, make_boundary(batch.step, 0, 0, {})).Length();
}

TEST(Codec, ListsOfAllChoicesTravelOnce) {
  const SamplingParams params = long_lists();
  const std::size_t one = header_of(step_with(params, 1)), many = header_of(step_with(params, 128));
  EXPECT_LT(many, one + 127 * 250);
  const auto frame = decode_frame(encode_frame(step_with(params, 128), make_boundary(StepId(0), 128, 0, {})));
  ASSERT_TRUE(frame.has_value()) << frame.error().message();
  EXPECT_EQ(std::get<StageInput>(*frame).batch, step_with(params, 128)) << "and each has them";
}

TEST(Codec, OtherListsInBetweenTravel) {
  StepBatch batch = step_with(long_lists(), 5);
  batch.slices[2].params = SamplingParams{.banned = {}};
  batch.slices[4].params->allowed.pop_back();
  const auto frame = decode_frame(encode_frame(batch, make_boundary(StepId(0), 5, 0, {})));
  ASSERT_TRUE(frame.has_value()) << frame.error().message();
  EXPECT_EQ(std::get<StageInput>(*frame).batch, batch);
}

TEST(Codec, RefusesListsAsBeforeWhereNoneWere) {
  v1::Step step;
  v1::Slice& slice = *step.add_slices();
  slice.add_tokens(1);
  slice.mutable_params()->set_lists_as_before(true);
  step.set_n_rows(1);
  EXPECT_FALSE(decode(step).has_value());
  slice.mutable_params()->set_lists_as_before(false);
  slice.mutable_params()->add_banned(3);
  *step.add_slices() = slice;
  step.set_n_rows(2);
  EXPECT_TRUE(decode(step).has_value());
  step.mutable_slices(1)->mutable_params()->set_lists_as_before(true);
  EXPECT_FALSE(decode(step).has_value()) << "both its own and those before";
}

TEST(Codec, AHeaderDoesNotUnpackToAnySize) {
  v1::Step step;
  v1::Slice first;
  first.add_tokens(1);
  for (std::size_t i = 0; i < kMaxTokenList; ++i) first.mutable_params()->add_allowed(3);
  *step.add_slices() = first;
  first.mutable_params()->clear_allowed();
  first.mutable_params()->set_lists_as_before(true);
  const int n = static_cast<int>(kMaxStepListEntries / kMaxTokenList) + 1;
  for (int i = 1; i < n; ++i) *step.add_slices() = first;
  step.set_n_rows(n);
  const auto batch = decode(step);
  ASSERT_FALSE(batch.has_value());
  EXPECT_NE(batch.error().message().find("token lists"), std::string::npos) << batch.error().message();
}

TEST(Codec, NoSliceTakesMoreOfAHeaderThanTheSchedulerCounts) {
  Random random{std::mt19937_64(7)};
  for (int round = 0; round < 100; ++round) {
    StepBatch batch = random_step(random).batch;
    if (round == 0) batch = step_with(long_lists(), 1);
    std::size_t counted = 64;  // the step's own fields
    for (const SequenceRows& rows : batch.slices) {
      counted += StepRoom::bytes_alone({.n_rows = rows.n_rows(),
                                        .n_targets = count_of(rows.targets),
                                        .n_blocks = count_of(rows.new_blocks) + count_of(rows.new_window_blocks),
                                        .n_history = count_of(rows.history),
                                        .n_mask_bytes = rows.mask.empty() ? 0 : TokenMask::most_bytes(600 * 32),
                                        .params = rows.params ? &*rows.params : nullptr});
    }
    EXPECT_LE(header_of(batch), counted + 10 * batch.released.size()) << "round " << round;
  }
}

v1::Step step_with_adapter(std::uint64_t id, float scale) {
  v1::Step step;
  step.set_step(1);
  step.set_n_rows(1);
  v1::Slice& slice = *step.add_slices();
  slice.set_sequence(1);
  slice.add_tokens(5);
  slice.add_new_blocks(0);
  slice.mutable_adapter()->set_id(id);
  slice.mutable_adapter()->set_scale(scale);
  return step;
}

TEST(Codec, AdaptersTravelWithTheirSlices) {
  StepBatch batch;
  batch.step = StepId(3);
  for (const int i : {0, 1}) {
    SequenceRows& slice = batch.slices.emplace_back();
    slice.sequence = SequenceId(to_size(1 + i));
    slice.tokens = {TokenId(5 + i)};
    slice.new_blocks = {BlockId(i)};
  }
  batch.slices[1].adapter = {AdapterId(~std::uint64_t{0}), 0.0f};
  v1::Step message;
  encode(batch, Boundary{}, message);
  EXPECT_FALSE(message.slices(0).has_adapter());
  const auto decoded = decode(message);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, batch);
}

TEST(Codec, HostileAdaptersAreRefused) {
  EXPECT_TRUE(decode(step_with_adapter(7, -2.5f)));
  for (const float scale : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    const auto decoded = decode(step_with_adapter(7, scale));
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().code(), Code::kDataLoss);
  }
  EXPECT_FALSE(decode(step_with_adapter(0, 1.0f)));
  v1::AdapterSource source;
  EXPECT_FALSE(decode(source)) << "no id";
  source.set_id(1);
  source.set_path(std::string(5000, 'a'));
  EXPECT_FALSE(decode(source)) << "a path of 5000 bytes";
}

}  // namespace
}  // namespace commissure
