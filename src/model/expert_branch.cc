#include "model/expert_branch.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/check.h"
#include "core/index.h"

namespace commissure {
namespace {

int widest(const ExpertSpec& spec) { return std::max(spec.d_ff, spec.shared_d_ff); }

float or_lowest(float logit) { return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit; }

Result<std::span<const float>> read_floats(Backend& backend, Rows rows) {
  const std::size_t n = n_elements(rows.n_rows, rows.n_cols);
  const auto bytes = TRY(backend.peek(rows.data, n * sizeof(float)));
  return std::span(reinterpret_cast<const float*>(bytes.data()), n);
}

/// The part of `biases` [n_experts, n] that is one expert's; null where there are none, or for the shared expert (-1).
DevicePtr bias_of(const DeviceBuffer& biases, int expert, std::int64_t n) {
  if (!biases.ptr() || expert < 0) return {};
  return biases.ptr().offset(n_elements(expert, n) * sizeof(float));
}

const ExpertWeights& expert_of(const LayerWeights& weights, int expert) {
  return expert < 0 ? weights.shared : weights.experts[to_size(expert)];
}

/// The products that make an expert's gate and up, the left and the right half of `wide`.
void add_gate_and_up(const LayerWeights& weights, int expert, Rows wide, std::vector<MatmulJob>& jobs) {
  const ExpertWeights& own = expert_of(weights, expert);
  const int d_ff = wide.n_cols / 2;
  if (own.gate_up != nullptr) {
    jobs.push_back({own.gate_up.get(), wide, bias_of(weights.expert_gate_up_bias, expert, wide.n_cols)});
    return;
  }
  jobs.push_back({own.gate.get(), wide.columns(0, d_ff), bias_of(weights.expert_gate_bias, expert, d_ff)});
  jobs.push_back({own.up.get(), wide.columns(d_ff, d_ff), bias_of(weights.expert_up_bias, expert, d_ff)});
}

MatmulJob down_job(const LayerWeights& weights, int expert, Rows out) {
  return {expert_of(weights, expert).down.get(), out, bias_of(weights.expert_down_bias, expert, out.n_cols)};
}

}  // namespace

void RowsByExpert::choose(std::span<const float> logits, const ExpertSpec& spec, float scale,
                          std::span<std::int32_t> experts, std::span<float> weights) {
  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float first = or_lowest(logits[a]), second = or_lowest(logits[b]);
    return first > second || (first == second && a < b);
  };
  std::partial_sort(order_.begin(), order_.begin() + spec.n_used, order_.end(), before);
  const float top = logits[order_.front()];
  std::copy_n(order_.begin(), spec.n_used, experts.begin());
  std::ranges::sort(experts);
  float used = 0.0f, all = 0.0f;
  for (int i = 0; i < spec.n_used; ++i) {
    weights[i] = std::exp(logits[experts[i]] - top);
    used += weights[i];
  }
  for (const float logit : logits) all += std::exp(logit - top);
  const float sum = spec.normalised || spec.softmax_of_used ? used : all;
  for (float& weight : weights) weight = weight / sum * scale;
}

void RowsByExpert::assign(std::span<const float> logits, int n_rows, const ExpertSpec& spec, float scale,
                          std::span<const float> factors) {
  const std::size_t n_used = to_size(spec.n_used), n_experts = to_size(spec.n_experts);
  CHECK(logits.size() == to_size(n_rows) * n_experts);
  chosen_.resize(to_size(n_rows) * n_used);
  chosen_weights_.resize(chosen_.size());
  ends_.assign(n_experts + 1, 0);
  for (std::size_t row = 0; row < to_size(n_rows); ++row) {
    const auto experts = std::span(chosen_).subspan(row * n_used, n_used);
    choose(logits.subspan(row * n_experts, n_experts), spec, scale, experts,
           std::span(chosen_weights_).subspan(row * n_used, n_used));
    for (const std::int32_t expert : experts) ++ends_[to_size(expert) + 1];
  }
  std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
  rows_.resize(chosen_.size());
  weights_.resize(chosen_.size());
  places_.assign(ends_.begin(), ends_.end() - 1);  // where each expert's next row goes
  for (std::size_t i = 0; i < chosen_.size(); ++i) {
    const std::size_t place = places_[to_size(chosen_[i])]++;
    rows_[place] = static_cast<std::int32_t>(i / n_used);
    weights_[place] = factors.empty() ? chosen_weights_[i] : chosen_weights_[i] * factors[to_size(chosen_[i])];
  }
}

/// Rows of one layer's branch, all in the decoder's scratch.
struct ExpertBranch::Scratch {
  Rows logits;     ///< [n_rows, n_experts]
  Rows rows;       ///< [n_rows, d_model]: an expert's rows, then its results
  Rows sum;        ///< [n_rows, d_model]
  DevicePtr wide;  ///< max_rows * 2 * the widest expert's d_ff floats
};

std::size_t ExpertBranch::scratch_floats(const ExpertSpec& spec, int d_model) {
  if (spec.n_experts == 0) return 0;
  return to_size(spec.n_experts) + n_elements(spec.beside_dense ? 3 : 2, d_model) + n_elements(2, widest(spec));
}

Result<Rows> ExpertBranch::run(const LayerSpec& spec, const LayerWeights& weights, Planes planes, Rows x,
                               DevicePtr scratch, int max_rows) {
  const ExpertSpec& experts = spec.experts;
  const auto take = [&](int n_cols) {
    const Rows rows = Rows::dense(scratch, x.n_rows, n_cols);
    scratch = scratch.offset(n_elements(x.n_rows, n_cols) * sizeof(float));
    return rows;
  };
  Scratch parts;
  parts.logits = take(experts.n_experts);
  parts.rows = take(x.n_cols);
  parts.sum = take(x.n_cols);
  Rows router_in = x;
  if (experts.beside_dense) {
    router_in = parts.rows;
    backend_.rms_norm(x, weights.router_norm.ptr(), norm_eps_, router_in);
    const Rows in = take(x.n_cols);
    backend_.rms_norm(x, weights.expert_norm.ptr(), norm_eps_, in);
    x = in;
  }
  parts.wide = scratch;
  backend_.clear(parts.sum);
  // What is chosen should not hang on how the router's input was rounded.
  backend_.matmul(router_in,
                  std::array<MatmulJob, 1>{{{weights.router.get(), parts.logits, weights.router_bias.ptr()}}},
                  InputPlanes::kAll);
  const auto logits = TRY(read_floats(backend_, parts.logits));
  taken_.assign(logits, x.n_rows, experts, spec.residual_scale, weights.expert_scale);
  if (x.n_rows == 1 && experts.n_used <= max_rows) {
    run_row(spec, weights, planes, x, parts);
  } else {
    for (int expert = 0; expert < experts.n_experts; ++expert) {
      const auto rows = taken_.rows(expert);
      if (rows.empty()) continue;
      const Rows own = parts.rows.slice(0, count_of(rows));
      backend_.gather(x, rows, own);
      run_expert(spec, weights, expert, planes, own, own, parts);
      backend_.scatter_add(parts.sum, rows, taken_.weights(expert), own);
    }
  }
  if (experts.shared_d_ff > 0) TRY(run_shared(spec, weights, planes, x, parts));
  return parts.sum;
}

/// result = the expert's feed-forward of x; the two may be the same rows.
void ExpertBranch::run_expert(const LayerSpec& spec, const LayerWeights& weights, int expert, Planes planes, Rows x,
                              Rows result, const Scratch& scratch) {
  const int d_ff = static_cast<int>(expert_of(weights, expert).down->n_cols());
  const Rows wide = Rows::dense(scratch.wide, x.n_rows, 2 * d_ff);
  jobs_.clear();
  add_gate_and_up(weights, expert, wide, jobs_);
  backend_.matmul(x, jobs_, planes.in);
  const Rows gate = wide.columns(0, d_ff);
  backend_.gated(spec.activation, gate, wide.columns(d_ff, d_ff), gate);
  backend_.matmul(gate, std::array<MatmulJob, 1>{down_job(weights, expert, result)}, planes.down);
}

/// A single row: its experts read the same input, so that all their gates and ups are one product.
void ExpertBranch::run_row(const LayerSpec& spec, const LayerWeights& weights, Planes planes, Rows x,
                           const Scratch& scratch) {
  const int n_used = spec.experts.n_used, d_ff = spec.experts.d_ff;
  const Rows wide = Rows::dense(scratch.wide, n_used, 2 * d_ff), gates = wide.columns(0, d_ff);
  jobs_.clear();
  int i = 0;
  for (int expert = 0; expert < spec.experts.n_experts; ++expert) {
    if (!taken_.rows(expert).empty()) add_gate_and_up(weights, expert, wide.slice(i++, 1), jobs_);
  }
  backend_.matmul(x, jobs_, planes.in);
  backend_.gated(spec.activation, gates, wide.columns(d_ff, d_ff), gates);
  i = 0;
  for (int expert = 0; expert < spec.experts.n_experts; ++expert) {
    if (taken_.rows(expert).empty()) continue;
    backend_.matmul(gates.slice(i++, 1), std::array<MatmulJob, 1>{down_job(weights, expert, scratch.rows)},
                    planes.down);
    backend_.scatter_add(scratch.sum, taken_.rows(expert), taken_.weights(expert), scratch.rows);
  }
}

/// The expert that every row takes, weighed by a sigmoid.
Status ExpertBranch::run_shared(const LayerSpec& spec, const LayerWeights& weights, Planes planes, Rows x,
                                const Scratch& scratch) {
  const Rows logits = Rows::dense(scratch.logits.data, x.n_rows, 1);
  backend_.matmul(x, std::array<MatmulJob, 1>{{{weights.shared_router.get(), logits}}}, InputPlanes::kAll);
  const auto values = TRY(read_floats(backend_, logits));
  shared_weights_.clear();
  for (const float value : values) shared_weights_.push_back(spec.residual_scale / (1.0f + std::exp(-value)));
  all_rows_.resize(values.size());
  std::iota(all_rows_.begin(), all_rows_.end(), 0);
  run_expert(spec, weights, -1, planes, x, scratch.rows, scratch);
  backend_.scatter_add(scratch.sum, all_rows_, shared_weights_, scratch.rows);
  return {};
}

}  // namespace commissure
