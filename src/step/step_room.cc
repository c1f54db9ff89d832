#include "step/step_room.h"

#include <algorithm>

#include "core/check.h"
#include "core/index.h"

namespace commissure {

namespace {

constexpr std::size_t kIdBytes = 5;       // of the longest id, as a varint
constexpr std::size_t kTargetBytes = 10;  // it may be negative
constexpr std::size_t kImageBytes = 20;
constexpr std::size_t kSliceBytes = 512;  // every other field of a slice and of its parameters, and its trace
constexpr std::size_t kBadSequenceEntries = 16;
/// Of the header, for what is no slice: sequences to forget.
constexpr std::size_t kOwnShare = 16;

}  // namespace

std::size_t n_list_entries(const SamplingParams& params) {
  std::size_t n = params.banned.size() + params.allowed.size() + params.end_tokens.size() + params.dry.breakers.size() +
                  2 * params.logit_bias.size();
  for (const auto& sequence : params.bad_sequences) n += sequence.size() + kBadSequenceEntries;
  return n;
}

bool same_lists(const SamplingParams& a, const SamplingParams& b) {
  return a.banned == b.banned && a.allowed == b.allowed && a.end_tokens == b.end_tokens &&
         a.dry.breakers == b.dry.breakers && a.logit_bias == b.logit_bias && a.bad_sequences == b.bad_sequences;
}

void copy_lists(const SamplingParams& from, SamplingParams& to) {
  to.banned = from.banned;
  to.allowed = from.allowed;
  to.end_tokens = from.end_tokens;
  to.dry.breakers = from.dry.breakers;
  to.logit_bias = from.logit_bias;
  to.bad_sequences = from.bad_sequences;
}

StepRoom::StepRoom(std::size_t n_bytes) : n_bytes_(n_bytes - n_bytes / kOwnShare) {}

StepRoom::Need StepRoom::need(const SliceSize& slice, const SamplingParams* before) {
  Need need;
  need.n_bytes = kSliceBytes + kIdBytes * to_size(slice.n_rows) + kTargetBytes * to_size(slice.n_targets) +
                 kIdBytes * to_size(slice.n_blocks) + kIdBytes * to_size(slice.n_history) +
                 kImageBytes * to_size(slice.n_images) + slice.n_mask_bytes;
  if (slice.params == nullptr) return need;
  need.n_entries = n_list_entries(*slice.params);
  if (before == nullptr || !same_lists(*before, *slice.params)) need.n_bytes += kIdBytes * need.n_entries;
  return need;
}

bool StepRoom::fits(const SliceSize& slice) const {
  const Need asked = need(slice, before_);
  return asked.n_bytes <= n_bytes_ && asked.n_entries <= n_entries_;
}

void StepRoom::take(const SliceSize& slice) {
  const Need asked = need(slice, before_);
  CHECK(asked.n_bytes <= n_bytes_ && asked.n_entries <= n_entries_);
  n_bytes_ -= asked.n_bytes;
  n_entries_ -= asked.n_entries;
  if (slice.params != nullptr) before_ = slice.params;
}

std::size_t StepRoom::bytes_alone(const SliceSize& slice) { return need(slice, nullptr).n_bytes; }

}  // namespace commissure
