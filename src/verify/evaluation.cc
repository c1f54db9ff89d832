#include "verify/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/index.h"
#include "hub/open_model.h"
#include "model/quantise_at_load.h"
#include "serve/served_model.h"
#include "step/step_batch.h"

namespace commissure {
namespace {

/// log of the sum of exp(logits).
double log_total(std::span<const float> logits) {
  const float max = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  return static_cast<double>(max) + std::log(sum);
}

/// What one row adds to an evaluation.
struct RowResult {
  Status status;
  RowScore score, other;
  double divergence = 0;
};

void score_both(std::span<const float> ours, std::span<const float> theirs, int target, RowResult& out) {
  auto score = score_row(ours, target);
  if (!score) {
    out.status = score.error();
    return;
  }
  out.score = *score;
  if (theirs.empty()) return;
  auto other = score_row(theirs, target);
  if (!other) {
    out.status = other.error();
    return;
  }
  out.other = *other;
  out.divergence = divergence(theirs, ours);
}

/// Rows [first, first + n) of a window that both models have computed.
Status add_rows(WindowModel& model, WindowModel* against, std::span<const TokenId> window, int first, int n,
                Evaluation& all) {
  const auto n_vocab = to_size(model.n_vocab());
  const std::span<const float> ours = TRY(model.logits(first, n));
  const std::span<const float> theirs = against == nullptr ? std::span<const float>() : TRY(against->logits(first, n));
  std::vector<RowResult> rows(to_size(n));
  model.backend().for_each(n, [&](int i, int) {
    const std::size_t at = to_size(i) * n_vocab;
    score_both(ours.subspan(at, n_vocab), theirs.empty() ? theirs : theirs.subspan(at, n_vocab),
               window[to_size(first + i + 1)].value, rows[to_size(i)]);
  });
  for (const RowResult& row : rows) {
    TRY(row.status);
    ++all.n_tokens;
    all.logprob += row.score.logprob;
    all.logprob_against += row.other.logprob;
    all.divergence += row.divergence;
    all.n_same += row.score.best == row.other.best ? 1 : 0;
  }
  return {};
}

}  // namespace

Result<RowScore> score_row(std::span<const float> logits, int target) {
  const auto best = std::ranges::max_element(logits);
  const double total = log_total(logits);
  if (!std::isfinite(total)) return Error(Code::kInternal, "the model computes numbers that are none");
  return RowScore{.logprob = static_cast<double>(logits[to_size(target)]) - total,
                  .best = static_cast<int>(best - logits.begin())};
}

double divergence(std::span<const float> p_logits, std::span<const float> q_logits) {
  const double p_total = log_total(p_logits), q_total = log_total(q_logits);
  double sum = 0;
  for (std::size_t i = 0; i < p_logits.size(); ++i) {
    const double p = static_cast<double>(p_logits[i]) - p_total, q = static_cast<double>(q_logits[i]) - q_total;
    if (p > -60) sum += std::exp(static_cast<float>(p)) * (p - q);
  }
  return std::max(0.0, sum);
}

double Evaluation::perplexity() const { return std::exp(-logprob / static_cast<double>(n_tokens)); }

double Evaluation::perplexity_against() const { return std::exp(-logprob_against / static_cast<double>(n_tokens)); }

Json Evaluation::to_json() const {
  Json json = {{"tokens", n_tokens}, {"perplexity", perplexity()}};
  if (!is_compared) return json;
  const auto n = static_cast<double>(n_tokens);
  json["perplexity_against"] = perplexity_against();
  json["perplexity_change"] = perplexity() / perplexity_against() - 1;
  json["mean_kl"] = divergence / n;
  json["top1_agreement"] = static_cast<double>(n_same) / n;
  return json;
}

Result<std::unique_ptr<WindowModel>> WindowModel::load(const LocalModel& local, const std::string& quant,
                                                       const EvaluationOptions& options) {
  std::unique_ptr<WindowModel> model(new WindowModel);
  model->checkpoint_ = TRY(open_model(local.location));
  DecoderSpec& spec = model->spec_ = TRY(read_decoder_spec(*model->checkpoint_));
  spec.precision = TRY(parse_precision(options.precision));
  const ModelPart whole{0, spec.n_layers(), true, true};
  TRY(quantise_at_load(*model->checkpoint_, spec, whole, TRY(parse_quant(quant.empty() ? "none" : quant))));
  model->fingerprint_ = model->checkpoint_->quantised_fingerprint();
  model->tokenizer_ = TRY(read_served_model(*model->checkpoint_, local, options.context)).tokenizer;
  model->backend_ = TRY(make_cpu_backend({.n_threads = options.n_threads, .pin = false, .isa = options.isa}));
  Backend& backend = *model->backend_;
  model->decoder_ = TRY(Decoder::create(
      backend, spec, whole, TRY(load_weights(backend, *model->checkpoint_, spec, whole, {})), options.context));
  const StagePlan plan{.index = 0, .n_stages = 1, .n_model_layers = spec.n_layers(), .layers = {0, spec.n_layers()}};
  const std::int32_t n_blocks = blocks_for(options.context);
  model->kv_ = TRY(KvPool::create(backend, spec, plan, {n_blocks, n_blocks, widest_window(spec), 1}));
  model->logits_ = TRY(backend.allocate(n_elements(kRows, spec.n_vocab) * sizeof(float)));
  return model;
}

Status WindowModel::run(std::span<const TokenId> window) {
  for (const TokenId token : window) {
    if (token.value >= 0 && token.value < spec_.n_vocab) continue;
    return Error(Code::kInvalidArgument, "the text has token ", token.value, ", the model ", spec_.n_vocab,
                 " tokens: the tokenizer is another model's");
  }
  const int n_rows = count_of(window);
  StepShape shape;
  for (const TokenId token : window) shape.tokens.push_back(token.value);
  SequenceSpan span{.first_row = 0, .n_rows = n_rows, .first_position = 0, .blocks = {}};
  span.blocks.resize(to_size(blocks_for(n_rows)));
  std::iota(span.blocks.begin(), span.blocks.end(), 0);
  span.state_to = 0;
  shape.sequences.push_back(std::move(span));
  const auto index = backend_->make_step_index(shape);
  decoder_->begin_step(*index, n_rows);
  decoder_->embed(*index, n_rows);
  decoder_->begin_layers(
      shape.tokens, [&](int) -> const StepIndex& { return *index; },
      [&](int layer) -> const KvLayer& { return kv_->layer(layer); });
  for (int layer = 0; layer < spec_.n_layers(); ++layer) {
    TRY(decoder_->run_layer(layer, *index, kv_->memory(layer), n_rows));
  }
  TRY(backend_->fetch(logits_.ptr(), 0));  // the index must outlive the queued work
  return {};
}

Result<std::span<const float>> WindowModel::logits(int first, int n) {
  std::vector<std::int32_t> rows(to_size(n));
  std::iota(rows.begin(), rows.end(), first);
  const std::vector<LogitsUse> uses(rows.size());
  decoder_->logits(rows, uses, Rows::dense(logits_.ptr(), n, spec_.n_vocab));
  const std::size_t n_values = n_elements(n, spec_.n_vocab);
  const auto bytes = TRY(backend_->fetch(logits_.ptr(), n_values * sizeof(float)));
  return std::span(reinterpret_cast<const float*>(bytes.data()), n_values);
}

Result<std::vector<std::vector<TokenId>>> windows_of(const Tokenizer& tokenizer, std::string_view text, int context) {
  const std::vector<TokenId> all = tokenizer.encode(text, {});
  std::vector<TokenId> own = tokenizer.encode(text, {.add_special = false, .plain_at = {}});
  auto begin = std::ranges::search(all, own).begin();
  if (begin == all.end()) {  // the text's own tokens are others beside the special ones
    own = all;
    begin = all.begin();
  }
  const std::vector<TokenId> before(all.begin(), begin);
  if (context < 2 || before.size() >= to_size(context)) {
    return Error(Code::kInvalidArgument, "a window of ", context, " tokens has no room for a text: the tokenizer puts ",
                 before.size(), " before each");
  }
  const std::size_t n_own = to_size(context) - before.size();
  std::vector<std::vector<TokenId>> windows;
  for (std::size_t at = 0; at < own.size(); at += n_own) {
    const std::span<const TokenId> part = std::span(own).subspan(at, std::min(n_own, own.size() - at));
    std::vector<TokenId>& window = windows.emplace_back(before);
    window.insert(window.end(), part.begin(), part.end());
    if (window.size() < 2) windows.pop_back();  // no token has another before it
  }
  return windows;
}

Result<Evaluation> evaluate(WindowModel& model, WindowModel* against, const std::vector<std::vector<TokenId>>& windows,
                            const std::function<void(std::int64_t n_tokens)>& on_tokens) {
  if (against != nullptr && against->n_vocab() != model.n_vocab()) {
    return Error(Code::kInvalidArgument, "the models have ", model.n_vocab(), " and ", against->n_vocab(),
                 " tokens; only models of one vocabulary can be compared");
  }
  Evaluation all;
  all.is_compared = against != nullptr;
  for (const std::vector<TokenId>& window : windows) {
    TRY(model.run(window));
    if (against != nullptr) TRY(against->run(window));
    const int n = count_of(window) - 1;
    for (int first = 0; first < n; first += WindowModel::kRows) {
      TRY(add_rows(model, against, window, first, std::min(n - first, WindowModel::kRows), all));
      on_tokens(all.n_tokens);
    }
  }
  return all;
}

}  // namespace commissure
