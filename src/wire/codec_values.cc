#include "wire/codec_values.h"

#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "core/index.h"
#include "step/step_room.h"
#include "wire/codec_params.h"

namespace commissure {
namespace {

constexpr std::size_t kMaxText = 4096;
constexpr int kMaxFeatures = 64;

Status check_text(std::string_view text, std::string_view name) {
  if (text.size() > kMaxText) return broken(name, " has ", text.size(), " bytes, at most ", kMaxText);
  return {};
}

/// Ids cost up to four bytes each, a word of bits always does.
void encode(const TokenMask& mask, v1::Slice& out) {
  if (mask.n_tokens() < mask.words().size()) {
    mask.each([&](TokenId token) { out.add_drawable(token.value); });
    return;
  }
  std::string& bits = *out.mutable_drawable_bits();
  bits.resize(mask.words().size() * sizeof(std::uint32_t));
  std::memcpy(bits.data(), mask.words().data(), bits.size());
}

Result<TokenMask> decode_mask(const v1::Slice& message) {
  std::vector<std::uint32_t> words;
  const std::string& bits = message.drawable_bits();
  if (bits.empty() && message.drawable_size() == 0) return TokenMask();
  if (!message.sample()) return broken("a mask of tokens where none is drawn");
  if (!bits.empty() && message.drawable_size() > 0) return broken("a mask of tokens in two forms");
  if (bits.size() % sizeof(std::uint32_t) != 0 || bits.size() / sizeof(std::uint32_t) > TokenMask::kMaxWords) {
    return broken("a mask of tokens of ", bits.size(), " bytes");
  }
  words.resize(bits.size() / sizeof(std::uint32_t));
  if (!bits.empty()) std::memcpy(words.data(), bits.data(), bits.size());
  for (const std::int32_t id : message.drawable()) {
    const std::int32_t word = id / TokenMask::kBits;
    if (id < 0 || std::cmp_greater_equal(word, TokenMask::kMaxWords)) return broken("token ", id, " in a mask");
    if (std::cmp_greater_equal(word, words.size())) words.resize(to_size(word) + 1);
    words[word] |= 1u << (id % TokenMask::kBits);
  }
  TokenMask mask(std::move(words));
  if (mask.empty() && !bits.empty()) return broken("a mask without a token");
  return mask;
}

void encode(const SliceImage& image, v1::SliceImage& out) {
  out.set_first_position(image.first_position);
  out.set_n_rows(image.n_rows);
  out.set_see_each_other(image.see_each_other);
}

Result<AdapterUse> decode(const v1::AdapterUse& message) {
  const AdapterUse use{AdapterId(message.id()), message.scale()};
  if (!use) return broken("an adapter without an id");
  if (!std::isfinite(use.scale)) return broken("an adapter's scale that is no number");
  return use;
}

Result<SequenceRows> decode(const v1::Slice& message, const SamplingParams* before) {
  SequenceRows rows;
  rows.sequence = SequenceId(message.sequence());
  rows.first_position = message.first_position();
  rows.table_start = message.table_start();
  rows.sample = message.sample();
  rows.sum_layers = message.sum_layers();
  TRY(take_ids(message.tokens(), "token", 0, rows.tokens));
  TRY(take_ids(message.new_blocks(), "block", 0, rows.new_blocks));
  rows.window_start = message.window_start();
  TRY(take_ids(message.new_window_blocks(), "window block", 0, rows.new_window_blocks));
  // -1 marks a row that has no next token to score.
  TRY(take_ids(message.targets(), "target", -1, rows.targets));
  if (message.has_params()) rows.params = TRY(commissure::decode(message.params(), before));
  TRY(take_ids(message.history(), "history token", 0, rows.history));
  rows.mask = TRY(decode_mask(message));
  if (message.images_size() > message.tokens_size()) return broken(message.images_size(), " images in a slice");
  for (const v1::SliceImage& image : message.images())
    rows.images.push_back({image.first_position(), image.n_rows(), image.see_each_other()});
  if (message.has_adapter()) rows.adapter = TRY(decode(message.adapter()));
  return rows;
}

void encode(const SliceTrace& trace, v1::SliceTrace& out) {
  out.set_slice(trace.slice);
  out.set_choice(trace.choice);
  out.set_traceparent(to_traceparent(trace.parent));
}

Result<SliceTrace> decode(const v1::SliceTrace& message) {
  auto parent = parse_traceparent(message.traceparent());
  if (!parent || message.traceparent().size() != kTraceParentSize) return broken("a malformed traceparent");
  if (message.choice() < 0) return broken("a trace of choice ", message.choice());
  return SliceTrace{message.slice(), message.choice(), std::move(*parent)};
}

void encode(const ScoredToken& token, v1::ScoredToken& out) {
  out.set_token(token.chosen.token.value);
  out.set_logprob(token.chosen.logprob);
  for (const TokenLogprob& other : token.top) {
    out.add_top_tokens(other.token.value);
    out.add_top_logprobs(other.logprob);
  }
}

Result<ScoredToken> decode(const v1::ScoredToken& message) {
  if (message.top_tokens_size() != message.top_logprobs_size()) {
    return broken(message.top_tokens_size(), " alternatives with ", message.top_logprobs_size(), " log-probabilities");
  }
  ScoredToken token;
  token.chosen = {TokenId(message.token()), message.logprob()};
  token.top.reserve(to_size(message.top_tokens_size()));
  for (int i = 0; i < message.top_tokens_size(); ++i) {
    token.top.push_back({TokenId(message.top_tokens(i)), message.top_logprobs(i)});
  }
  return token;
}

}  // namespace

void encode(const Hello& hello, v1::Hello& out) {
  out.set_protocol_version(hello.protocol_version);
  out.set_block_positions(hello.block_positions);
  out.set_session(hello.session);
  for (const std::string& feature : hello.features) out.add_features(feature);
  for (const StageInfo& stage : hello.stages) encode(stage, *out.add_stages());
  for (const std::string& session : hello.resumes) out.add_resumes(session);
  for (const bool kept : hello.kept) out.add_kept(kept);
  out.set_head(hello.epoch.head);
  out.set_nth_stream(hello.epoch.nth);
}

Result<Hello> decode(const v1::Hello& message) {
  TRY(check_text(message.session(), "session"));
  if (message.features_size() > kMaxFeatures) return broken(message.features_size(), " features in a hello");
  if (message.stages_size() > kMaxStages) return broken(message.stages_size(), " stages in a hello");
  if (std::cmp_greater(message.resumes_size(), kMaxResumes))
    return broken(message.resumes_size(), " sessions to resume in a hello");
  if (message.kept_size() > kMaxStages) return broken(message.kept_size(), " stages keep their rows in a hello");
  Hello hello;
  hello.protocol_version = message.protocol_version();
  hello.block_positions = message.block_positions();
  hello.session = message.session();
  for (const std::string& feature : message.features()) {
    TRY(check_text(feature, "feature"));
    hello.features.push_back(feature);
  }
  for (const v1::StageInfo& stage : message.stages()) hello.stages.push_back(TRY(decode(stage)));
  for (const std::string& session : message.resumes()) {
    TRY(check_text(session, "session"));
    hello.resumes.push_back(session);
  }
  hello.kept.assign(message.kept().begin(), message.kept().end());
  hello.epoch = {message.head(), message.nth_stream()};
  return hello;
}

void encode(const StepBatch& batch, const Boundary& boundary, v1::Step& out) {
  out.set_step(batch.step.value);
  out.set_n_rows(batch.is_rebuild() ? boundary.n_rows : batch.n_rows());
  out.set_d_model(boundary.d_model);
  if (batch.is_rebuild()) {
    out.set_rebuild_first(batch.rebuild.first);
    out.set_rebuild_last(batch.rebuild.last);
  }
  const SamplingParams* before = nullptr;
  for (const SequenceRows& rows : batch.slices) {
    v1::Slice& slice = *out.add_slices();
    slice.set_sequence(rows.sequence.value);
    slice.set_first_position(rows.first_position);
    put_ids(rows.tokens, *slice.mutable_tokens());
    slice.set_table_start(rows.table_start);
    put_ids(rows.new_blocks, *slice.mutable_new_blocks());
    slice.set_window_start(rows.window_start);
    put_ids(rows.new_window_blocks, *slice.mutable_new_window_blocks());
    slice.set_sample(rows.sample);
    slice.set_sum_layers(rows.sum_layers);
    if (rows.params) encode(*rows.params, std::exchange(before, &*rows.params), *slice.mutable_params());
    put_ids(rows.targets, *slice.mutable_targets());
    put_ids(rows.history, *slice.mutable_history());
    if (!rows.mask.empty()) encode(rows.mask, slice);
    for (const SliceImage& image : rows.images) encode(image, *slice.add_images());
    if (rows.adapter) {
      slice.mutable_adapter()->set_id(rows.adapter.id.value);
      slice.mutable_adapter()->set_scale(rows.adapter.scale);
    }
  }
  put_ids(batch.released, *out.mutable_released());
  for (const SliceTrace& trace : batch.traces) encode(trace, *out.add_traces());
}

void encode(const AdapterSource& source, v1::AdapterSource& out) {
  out.set_id(source.id.value);
  out.set_name(source.name);
  out.set_path(source.path);
}

Result<AdapterSource> decode(const v1::AdapterSource& message) {
  TRY(check_text(message.name(), "an adapter's name"));
  TRY(check_text(message.path(), "an adapter's path"));
  AdapterSource source{AdapterId(message.id()), message.name(), message.path()};
  if (source.id == AdapterId()) return broken("an adapter without an id");
  return source;
}

Result<StepBatch> decode(const v1::Step& message) {
  StepBatch batch;
  batch.step = StepId(message.step());
  std::int64_t n_rows = 0;
  std::size_t n_entries = 0, n_mask_words = 0;
  const SamplingParams* before = nullptr;
  if (message.slices_size() > kMaxRows)
    return broken("step ", message.step(), " has ", message.slices_size(), " slices");
  batch.slices.reserve(to_size(message.slices_size()));  // so that `before` stays
  for (const v1::Slice& slice : message.slices()) {
    n_rows += slice.tokens_size();
    SequenceRows& rows = batch.slices.emplace_back(TRY(decode(slice, before)));
    n_mask_words += rows.mask.words().size();
    if (n_mask_words > kMaxStepMaskWords)
      return broken("step ", message.step(), " has masks of over ", kMaxStepMaskWords, " words");
    if (!rows.params) continue;
    before = &*rows.params;
    n_entries += n_list_entries(*before);
    if (n_entries > kMaxStepListEntries)
      return broken("step ", message.step(), " has token lists of over ", kMaxStepListEntries, " entries");
  }
  if (message.rebuild_first() != 0 || message.rebuild_last() != 0) {
    batch.rebuild = {message.rebuild_first(), message.rebuild_last()};
    // Any other span would be lost when the step is passed on, and the step be one for all stages.
    if (batch.rebuild.empty() || batch.rebuild.first < 1 || batch.rebuild.last >= kMaxStages) {
      return broken("step ", message.step(), " rebuilds stages ", batch.rebuild.first, " to ", batch.rebuild.last);
    }
  }
  const bool passes_by = batch.is_rebuild() && message.n_rows() == 0;
  if ((n_rows != message.n_rows() && !passes_by) || n_rows > kMaxRows) {
    return broken("step ", message.step(), " says ", message.n_rows(), " rows and has ", n_rows, ", at most ",
                  kMaxRows);
  }
  for (const std::uint64_t sequence : message.released()) batch.released.emplace_back(sequence);
  if (message.traces_size() > message.slices_size()) return broken(message.traces_size(), " traces in a step");
  for (const v1::SliceTrace& trace : message.traces()) batch.traces.push_back(TRY(decode(trace)));
  return batch;
}

void encode(const SampledTokens& tokens, v1::Result& out) {
  out.set_step(tokens.step.value);
  for (const SequenceResult& result : tokens.results) {
    v1::SequenceResult& sequence = *out.add_results();
    sequence.set_sequence(result.sequence.value);
    if (result.sampled) encode(*result.sampled, *sequence.mutable_sampled());
    for (const ScoredToken& token : result.scored) encode(token, *sequence.add_scored());
    sequence.set_no_choice(result.no_choice);
    if (result.mirostat_mu) sequence.set_mirostat_mu(*result.mirostat_mu);
  }
  for (const StageTiming& timing : tokens.timings) {
    v1::StageTiming& stage = *out.add_timings();
    stage.set_stage(timing.stage);
    stage.set_queue_us(timing.queue_us);
    stage.set_compute_us(timing.compute_us);
    stage.set_wire_us(timing.wire_us);
    stage.mutable_checksums()->Add(timing.checksums.begin(), timing.checksums.end());
    stage.set_has_span(timing.has_span);
  }
}

Result<SampledTokens> decode(const v1::Result& message) {
  SampledTokens tokens;
  tokens.step = StepId(message.step());
  for (const v1::SequenceResult& sequence : message.results()) {
    SequenceResult result;
    result.sequence = SequenceId(sequence.sequence());
    if (sequence.has_sampled()) result.sampled = TRY(decode(sequence.sampled()));
    for (const v1::ScoredToken& token : sequence.scored()) result.scored.push_back(TRY(decode(token)));
    result.no_choice = sequence.no_choice();
    if (sequence.has_mirostat_mu()) result.mirostat_mu = sequence.mirostat_mu();
    tokens.results.push_back(std::move(result));
  }
  if (message.timings_size() > kMaxStages) return broken(message.timings_size(), " stage timings");
  for (const v1::StageTiming& stage : message.timings()) {
    TRY(check_text(stage.stage(), "stage name"));
    tokens.timings.push_back({stage.stage(),
                              stage.queue_us(),
                              stage.compute_us(),
                              stage.wire_us(),
                              {stage.checksums().begin(), stage.checksums().end()},
                              stage.has_span()});
  }
  return tokens;
}

void encode(const StageInfo& info, v1::StageInfo& out) {
  out.set_model(info.model);
  out.set_fingerprint(info.fingerprint);
  out.set_index(info.plan.index);
  out.set_n_stages(info.plan.n_stages);
  out.set_n_model_layers(info.plan.n_model_layers);
  out.set_first_layer(info.plan.layers.first);
  out.set_last_layer(info.plan.layers.last);
  out.set_precision(info.precision);
  out.set_device(info.device);
  out.set_isa(info.isa);
  out.set_d_model(info.d_model);
  out.set_row_width(info.row_width);
  out.set_n_kv_blocks(info.n_kv_blocks);
  out.set_n_window_blocks(info.n_window_blocks);
  out.set_n_states(info.n_states);
  out.set_kv_dtype(info.kv_dtype);
  out.set_max_rows(info.max_rows);
  out.set_state(static_cast<v1::StageInfo::LoadState>(info.state));
  out.set_problem(info.problem.substr(0, kMaxText));
  out.set_weight_bytes(info.weight_bytes);
  out.set_loaded_bytes(info.loaded_bytes);
  out.set_source_bytes_read(info.source_bytes_read);
  out.set_resident_bytes(info.resident_bytes);
  out.set_private_bytes(info.private_bytes);
  out.set_load_ms(info.load_ms);
  out.set_pid(info.pid);
}

Result<StageInfo> decode(const v1::StageInfo& message) {
  const std::pair<const std::string&, std::string_view> texts[] = {
      {message.model(), "model"},       {message.fingerprint(), "fingerprint"}, {message.precision(), "precision"},
      {message.kv_dtype(), "kv_dtype"}, {message.device(), "device"},           {message.isa(), "isa"},
      {message.problem(), "problem"}};
  for (const auto& [text, name] : texts) TRY(check_text(text, name));
  if (message.index() < 0 || message.index() >= kMaxStages || message.n_stages() < 1 ||
      message.n_stages() > kMaxStages) {
    return broken("stage ", message.index(), " of ", message.n_stages(), " in a chain of at most ", kMaxStages);
  }
  if (!v1::StageInfo::LoadState_IsValid(message.state())) return broken("load state ", int{message.state()});
  if (message.d_model() < 0 || message.n_kv_blocks() < 0 || message.n_window_blocks() < 0 || message.n_states() < 0 ||
      message.max_rows() < 0 || message.row_width() < 0) {
    return broken("stage ", message.index(), " has a negative size");
  }
  StageInfo info;
  info.model = message.model();
  info.fingerprint = message.fingerprint();
  info.plan = {
      message.index(), message.n_stages(), message.n_model_layers(), {message.first_layer(), message.last_layer()}};
  info.precision = message.precision();
  info.kv_dtype = message.kv_dtype();
  info.device = message.device();
  info.isa = message.isa();
  info.d_model = message.d_model();
  info.row_width = message.row_width();
  info.n_kv_blocks = message.n_kv_blocks();
  info.n_window_blocks = message.n_window_blocks();
  info.n_states = message.n_states();
  info.max_rows = message.max_rows();
  info.state = static_cast<LoadState>(message.state());
  info.problem = message.problem();
  info.weight_bytes = message.weight_bytes();
  info.loaded_bytes = message.loaded_bytes();
  info.source_bytes_read = message.source_bytes_read();
  info.resident_bytes = message.resident_bytes();
  info.private_bytes = message.private_bytes();
  info.load_ms = message.load_ms();
  info.pid = message.pid();
  return info;
}

}  // namespace commissure
