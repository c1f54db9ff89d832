#include "stage/executor.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "core/crc32c.h"
#include "core/index.h"
#include "stage/stage_memory.h"

namespace commissure {

/// A row of the step whose logits are wanted.
struct Executor::HeadRow {
  std::int32_t row;   ///< in the step
  std::size_t slice;  ///< in the batch
  int row_in_slice;
  bool is_sampled;  ///< the slice's last row, and it asks for a token
};

namespace {

/// Looking through so many logits for the largest takes longer than waking a thread that helps (some 50 us).
constexpr std::size_t kSharedValues = std::size_t{1} << 20;
/// Drawing costs as much a value as looking through so many.
constexpr std::size_t kDrawCost = 8;

using BlockTable = std::vector<std::int32_t> SequenceState::*;

/// What stands for an image's rows where layers look a token up (per-layer embeddings): padding, as in transformers.
constexpr std::int32_t kNoToken = 0;

/// The rows of an image that a slice has, by position.
RowSpan rows_in(const SequenceRows& slice, const SliceImage& image) {
  return {std::max(slice.first_position, image.first_position), std::min(slice.rows().end, image.end())};
}

/// `images_see`: rows of images see each other in the layers that it is for, where the batch says they may.
StepShape make_shape(const StepBatch& batch, const std::vector<SequenceState>& states,
                     const std::vector<StateTable::Move>& moves, BlockTable table, bool images_see) {
  StepShape shape;
  shape.tokens.reserve(to_size(batch.n_rows()));
  for (std::size_t i = 0; i < batch.slices.size(); ++i) {
    const SequenceRows& slice = batch.slices[i];
    const auto [first, end] = slice.rows();
    int position = first;
    const auto add_span = [&](int span_end, int seen_to) {
      if (span_end <= position) return;
      shape.sequences.push_back({.first_row = shape.n_rows() + position - first,
                                 .n_rows = span_end - position,
                                 .first_position = position,
                                 .blocks = states[i].*table,
                                 .state_from = moves[i].from,
                                 .state_to = moves[i].to,
                                 .seen_to = seen_to});
      position = span_end;
    };
    for (const SliceImage& image : slice.images) {
      if (!image.see_each_other || !images_see) continue;
      add_span(image.first_position, 0);
      add_span(image.end(), image.end());
    }
    add_span(end, 0);
    const auto first_token = count_of(shape.tokens) - first;
    for (const TokenId token : slice.tokens) shape.tokens.push_back(token.value);
    for (const SliceImage& image : slice.images) {
      const RowSpan rows = rows_in(slice, image);
      std::fill_n(shape.tokens.begin() + first_token + rows.first, rows.n_rows(), kNoToken);
    }
  }
  return shape;
}

Boundary no_rows(StepId step, int d_model) {
  return {.step = step, .n_rows = 0, .d_model = d_model, .values = {}, .owner = {}};
}

}  // namespace

Executor::Executor(Backend& backend, const StagePlan& plan, std::unique_ptr<Decoder> decoder, KvPool kv,
                   RowLog handed_on)
    : backend_(backend),
      plan_(plan),
      decoder_(std::move(decoder)),
      kv_(std::move(kv)),
      handed_on_(std::move(handed_on)),
      sequences_(kv_.shape(), decoder_->spec().n_vocab, plan.is_last()),
      recurrent_(kv_.shape().n_states),
      samplers_(to_size(backend.info().n_threads)) {}

Result<std::unique_ptr<Executor>> Executor::create(Backend& backend, const DecoderSpec& spec, const StagePlan& plan,
                                                   PartWeights weights, int max_rows, const KvShape& shape) {
  if (max_rows <= 0) return Error(Code::kInvalidArgument, "max_rows is ", max_rows, ", must be at least 1");
  KvPool kv = TRY(KvPool::create(backend, spec, plan, shape));
  auto decoder = TRY(Decoder::create(backend, spec, model_part(plan), std::move(weights), max_rows));
  RowLog handed_on;
  if (!plan.is_last()) handed_on = TRY(RowLog::create(shape.n_blocks, decoder->width_out()));
  std::unique_ptr<Executor> executor(
      new Executor(backend, plan, std::move(decoder), std::move(kv), std::move(handed_on)));
  const Decoder& made = *executor->decoder_;
  const std::size_t row_bytes = to_size(std::max(made.width_in(), made.width_out())) * sizeof(bf16);
  executor->boundary_ = TRY(backend.allocate(to_size(max_rows) * row_bytes));
  if (plan.is_last()) {
    executor->n_head_rows_ = head_rows(spec, max_rows);
    executor->logits_ = TRY(backend.allocate(to_size(executor->n_head_rows_) * to_size(spec.n_vocab) * sizeof(float)));
  }
  return executor;
}

Result<StageOutput> Executor::step(StageInput input) {
  const StepBatch& batch = input.batch;
  if (batch.n_rows() > max_rows()) {
    return Error(Code::kInvalidArgument, "step ", batch.step.value, " has ", batch.n_rows(), " rows, this stage takes ",
                 max_rows());
  }
  return batch.is_computed_by(plan_.index) ? compute(std::move(input)) : pass_by(std::move(input));
}

Result<StageOutput> Executor::compute(StageInput input) {
  const int n_rows = input.batch.n_rows();
  const StepId step = input.batch.step;
  TRY(check_boundary(input, n_rows));
  TRY(check_images(input.batch));
  HeldAdapters adapters = TRY(hold_adapters(input.batch));
  Prepared prepared = {.states = TRY(sequences_.prepare(input.batch)),
                       .moves = TRY(recurrent_.begin(input.batch)),
                       .adapters = std::move(adapters)};
  std::vector<SequenceState>& states = prepared.states;

  StageOutput output;
  if (n_rows > 0) TRY(run_layers(input, prepared, n_rows, output.checksums));
  // Both wait for the device, so a device error also ends here, before the commit.
  if (plan_.is_last()) {
    output.value = TRY(sample_tokens(input.batch, states));
  } else {
    Boundary rows = TRY(make_output_boundary(step, n_rows));
    handed_on_.write(input.batch, states, rows.values);
    if (!input.batch.is_computed_by(plan_.index + 1)) rows = no_rows(step, rows.d_model);
    output.value = std::move(rows);
  }
  recurrent_.commit(input.batch);
  sequences_.commit(input.batch, std::move(states));
  output.batch = std::move(input.batch);
  return output;
}

/// A step for other stages, which lost their keys and values: this one may have the rows that the next one needs.
Result<StageOutput> Executor::pass_by(StageInput input) {
  const StepBatch& batch = input.batch;
  TRY(validate(batch));
  StageOutput output;
  if (plan_.is_last()) {
    std::vector<SequenceState> none;
    output.value = TRY(sample_tokens(batch, none));
  } else if (batch.is_computed_by(plan_.index + 1)) {
    TRY(sequences_.check_written(batch));  // what it computed, it handed on
    output.value = make_boundary(batch.step, batch.n_rows(), decoder_->width_out(), TRY(handed_on_.read(batch)));
  } else {
    output.value = no_rows(batch.step, decoder_->width_out());
  }
  output.batch = std::move(input.batch);
  return output;
}

Result<HeldAdapters> Executor::hold_adapters(const StepBatch& batch) const {
  return adapters_ != nullptr ? adapters_->hold(batch) : AdapterTable().hold(batch);
}

Status Executor::check_boundary(const StageInput& input, int n_rows) const {
  if (plan_.is_first()) return {};
  const Boundary& boundary = input.boundary;
  const std::uint64_t step = input.batch.step.value;
  const int width = decoder_->width_in();
  if (boundary.n_rows != n_rows || (n_rows > 0 && (boundary.step != input.batch.step || boundary.d_model != width))) {
    return Error(Code::kDataLoss, "step ", step, ": boundary of step ", boundary.step.value, " is [", boundary.n_rows,
                 ", ", boundary.d_model, "], the batch asks for [", n_rows, ", ", width, "]");
  }
  const std::size_t n_values = n_elements(n_rows, width);
  if (boundary.values.size() != n_values) {
    return Error(Code::kDataLoss, "step ", step, ": boundary holds ", boundary.values.size(), " values, its shape ",
                 n_values);
  }
  return {};
}

Status Executor::run_layers(const StageInput& input, const Prepared& prepared, int n_rows,
                            std::vector<std::uint32_t>& checksums) {
  const auto n_summed = std::ranges::count_if(input.batch.slices, &SequenceRows::sum_layers);
  checksums.resize(n_elements(n_summed, plan_.layers.n_layers()));
  const auto& [states, moves, adapters] = prepared;
  const ImageSight sight = decoder_->spec().image_sight;
  const StepShape shape =
      make_shape(input.batch, states, moves, &SequenceState::blocks, sight == ImageSight::kEveryLayer);
  const auto index = backend_.make_step_index(shape);
  std::unique_ptr<StepIndex> windows;  // the same rows with the other table
  if (kv_.shape().window > 0) {
    windows = backend_.make_step_index(
        make_shape(input.batch, states, moves, &SequenceState::window_blocks, sight != ImageSight::kNoLayer));
  }
  decoder_->begin_step(*index, n_rows, adapters.rows);
  if (plan_.is_first()) {
    decoder_->embed(*index, n_rows);
    place_images(input.batch);
  } else {
    backend_.upload(boundary_.ptr(), std::as_bytes(input.boundary.values));
    decoder_->unpack_boundary(n_rows, boundary_.ptr());
  }
  const auto index_of = [&](int layer) -> const StepIndex& {
    return decoder_->spec().layers[layer].window > 0 ? *windows : *index;
  };
  decoder_->begin_layers(shape.tokens, index_of, [&](int layer) -> const KvLayer& { return kv_.layer(layer); });
  for (int layer = plan_.layers.first; layer < plan_.layers.last; ++layer) {
    TRY(decoder_->run_layer(layer, index_of(layer), kv_.memory(layer), n_rows));
    if (n_summed > 0) TRY(sum_layer(input.batch, layer - plan_.layers.first, checksums));
    n_done_.fetch_add(1, std::memory_order_relaxed);
  }
  // The indexes must outlive the queued work; a fetch of nothing waits for it.
  TRY(backend_.fetch(boundary_.ptr(), 0));
  return {};
}

/// Where the first stage embeds tokens, the images must be there. Rows that see each other part a slice into spans, and
/// a recurrent layer takes a sequence's rows in one.
Status Executor::check_images(const StepBatch& batch) const {
  for (const SequenceRows& slice : batch.slices) {
    if (kv_.shape().n_states > 0 && std::ranges::any_of(slice.images, &SliceImage::see_each_other)) {
      return Error(Code::kInvalidArgument, "step ", batch.step.value, ", sequence ", slice.sequence.value,
                   ": rows that see each other, in a model with recurrent layers");
    }
  }
  if (!plan_.is_first()) return {};
  const int d_model = decoder_->spec().d_model;
  for (const SequenceRows& slice : batch.slices) {
    for (const SliceImage& image : slice.images) {
      const auto problem = [&](const auto&... what) {
        return Error(Code::kInvalidArgument, "step ", batch.step.value, ", sequence ", slice.sequence.value,
                     ": the image at position ", image.first_position, what...);
      };
      if (image.rows == nullptr) return problem(" has no rows");
      if (image.rows->d_model != d_model || image.rows->values.size() != n_elements(image.n_rows, d_model)) {
        return problem(" is [", image.rows->n_rows, ", ", image.rows->d_model, "] with ", image.rows->values.size(),
                       " values; the model takes [", image.n_rows, ", ", d_model, "]");
      }
    }
  }
  return {};
}

void Executor::place_images(const StepBatch& batch) {
  const int d_model = decoder_->spec().d_model;
  int first_row = 0;
  for (const SequenceRows& slice : batch.slices) {
    for (const SliceImage& image : slice.images) {
      const RowSpan rows = rows_in(slice, image);
      const std::span<const bf16> values =
          std::span(image.rows->values)
              .subspan(n_elements(rows.first - image.first_position, d_model), n_elements(rows.n_rows(), d_model));
      decoder_->replace(first_row + rows.first - slice.first_position, values);
    }
    first_row += slice.n_rows();
  }
}

/// `layer` counts from this stage's first. The residual is rounded to bf16 already: packing loses nothing.
Status Executor::sum_layer(const StepBatch& batch, int layer, std::vector<std::uint32_t>& checksums) {
  const int n_rows = batch.n_rows();
  const std::size_t row_bytes = to_size(decoder_->spec().d_model) * sizeof(bf16);
  decoder_->pack_residual(n_rows, boundary_.ptr());
  const auto bytes = TRY(backend_.fetch(boundary_.ptr(), to_size(n_rows) * row_bytes));
  std::size_t first_row = 0;
  std::size_t n_before = 0;
  for (const SequenceRows& slice : batch.slices) {
    const auto n = to_size(slice.n_rows());
    if (slice.sum_layers) {
      const auto at = n_before++ * to_size(plan_.layers.n_layers()) + to_size(layer);
      checksums[at] = crc32c(bytes.subspan(first_row * row_bytes, n * row_bytes));
    }
    first_row += n;
  }
  return {};
}

Result<Boundary> Executor::make_output_boundary(StepId step, int n_rows) {
  const int width = decoder_->width_out();
  if (n_rows == 0) return no_rows(step, width);
  std::vector<bf16> values(n_elements(n_rows, width));
  decoder_->pack_boundary(n_rows, boundary_.ptr());
  const auto bytes = TRY(backend_.fetch(boundary_.ptr(), values.size() * sizeof(bf16)));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return make_boundary(step, n_rows, width, std::move(values));
}

Result<SampledTokens> Executor::sample_tokens(const StepBatch& batch, std::vector<SequenceState>& states) {
  SampledTokens tokens;
  tokens.step = batch.step;
  std::vector<HeadRow> wanted;
  std::int32_t row = 0;
  for (std::size_t i = 0; i < batch.slices.size(); ++i) {
    const SequenceRows& slice = batch.slices[i];
    tokens.results.push_back({.sequence = slice.sequence, .sampled = {}, .scored = {}});
    for (int r = 0; r < slice.n_rows(); ++r, ++row) {
      const bool is_sampled = slice.sample && r == slice.n_rows() - 1;
      if (is_sampled || !slice.targets.empty()) wanted.push_back({row, i, r, is_sampled});
    }
  }
  // A slice of rows at a time, so that logits take bounded memory whatever the step asks for.
  const std::span<const HeadRow> all(wanted);
  for (std::size_t first = 0; first < all.size(); first += to_size(n_head_rows_)) {
    const std::size_t n = std::min(all.size() - first, to_size(n_head_rows_));
    TRY(sample_rows(batch, states, all.subspan(first, n), tokens.results));
    n_done_.fetch_add(1, std::memory_order_relaxed);
  }
  return tokens;
}

Status Executor::sample_rows(const StepBatch& batch, std::vector<SequenceState>& states, std::span<const HeadRow> rows,
                             std::vector<SequenceResult>& results) {
  const auto n_vocab = to_size(decoder_->spec().n_vocab);
  std::vector<std::int32_t> row_ids;
  std::vector<LogitsUse> uses;
  for (const HeadRow& row : rows) {
    const std::vector<TokenId>& asked = batch.slices[row.slice].targets;
    row_ids.push_back(row.row);
    // A row that is drawn from has only a stand-in for a target, which may change no bit of its logits.
    if (asked.empty() || row.is_sampled) {
      const bool has_mask = !batch.slices[row.slice].mask.empty();
      uses.push_back({.n_largest = has_mask ? 0 : n_largest_needed(*states[row.slice].params)});
    } else {
      uses.push_back({.target = asked[row.row_in_slice].value});
    }
  }
  decoder_->logits(row_ids, uses, Rows::dense(logits_.ptr(), count_of(rows), static_cast<int>(n_vocab)));
  const auto bytes = TRY(backend_.fetch(logits_.ptr(), rows.size() * n_vocab * sizeof(float)));
  const std::span<const float> logits(reinterpret_cast<const float*>(bytes.data()), rows.size() * n_vocab);
  std::vector<Status> statuses(rows.size());
  const auto sample = [&](int row, int part) {
    const auto i = to_size(row);
    const std::size_t slice = rows[i].slice;
    statuses[i] = sample_row(samplers_[part], batch.slices[slice], states[slice], rows[i],
                             logits.subspan(i * n_vocab, n_vocab), results[slice]);
  };
  // Rows of one slice write to one result, in order.
  const auto same_slice = [](const HeadRow& a, const HeadRow& b) { return a.slice == b.slice; };
  const bool are_apart = std::ranges::adjacent_find(rows, same_slice) == rows.end();
  const bool any_draws = std::ranges::any_of(rows, [&](const HeadRow& row) {
    const SequenceState& state = states[row.slice];
    return state.params && state.params->temperature > 0.0f;
  });
  if (are_apart && rows.size() * n_vocab * (any_draws ? kDrawCost : 1) >= kSharedValues) {
    backend_.for_each(count_of(rows), sample);
  } else {
    for (int i = 0; std::cmp_less(i, rows.size()); ++i) sample(i, 0);
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (statuses[i]) continue;
    return statuses[i].error().within(
        fmt::format("step {}, sequence {}", batch.step.value, batch.slices[rows[i].slice].sequence.value));
  }
  return {};
}

Status Executor::sample_row(Sampler& sampler, const SequenceRows& slice, SequenceState& state, const HeadRow& row,
                            std::span<const float> logits, SequenceResult& result) {
  if (!slice.targets.empty()) {
    const int n_top = state.params ? std::max(0, state.params->n_logprobs) : 0;
    const TokenId target = slice.targets[row.row_in_slice];
    result.scored.push_back(TRY(sampler.score(logits, target, n_top)));
  }
  if (row.is_sampled) TRY(draw_token(sampler, slice, state, logits, result));
  return {};
}

Status Executor::draw_token(Sampler& sampler, const SequenceRows& slice, SequenceState& state,
                            std::span<const float> logits, SequenceResult& result) {
  const SamplingParams& params = *state.params;
  SampleContext context{.position = std::int64_t{slice.first_position} + slice.n_rows(), .history = {}, .mu = {}};
  if (state.history) context.history = *state.history;
  context.mu = state.mirostat_mu;
  if (!slice.mask.empty()) context.mask = &slice.mask;
  Result<ScoredToken> drawn = sampler.sample(logits, params, context);
  if (!drawn && drawn.error().code() == Code::kInvalidArgument) {
    result.no_choice = true;  // this sequence's own doing: the others of the step go on
    return {};
  }
  result.sampled = TRY(std::move(drawn));
  state.mirostat_mu = context.mu;
  if (params.mirostat.is_on) result.mirostat_mu = context.mu;
  return {};
}

}  // namespace commissure
