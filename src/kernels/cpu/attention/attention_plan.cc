#include "kernels/cpu/attention/attention_plan.h"

#include <algorithm>

#include "core/index.h"
#include "kernels/cpu/rows/rows.h"

namespace commissure::cpu {
namespace {

/// A tile is cut only when it holds at least this part of a thread's share: else it goes whole to one of the two.
constexpr std::int64_t kCutPart = 16;

int first_block(const AttendItem& item) { return first_key(item.window, item.first_position) / kBlockPositions; }

int n_spans(const AttendItem& item) { return item.last_span - item.first_span; }

std::size_t partial_floats(const AttendItem& item) {
  return n_elements(item.n_rows, item.n_heads, partial_size(item.head_dim));
}

/// Blocks times queries: about what the item costs.
std::int64_t weight_of(const AttendItem& item) {
  const int n_blocks = last_key(item, item.n_rows - 1) / kBlockPositions + 1 - first_block(item);
  return std::int64_t{n_blocks} * item.n_rows * item.n_heads;
}

}  // namespace

std::size_t head_block_bytes(const KvLayer& layer) {
  return kBlockPositions * kv_position_bytes(layer.type, 1, layer.heads.head_dim);
}

void AttentionPlan::make(const Call& call, int n_parts, bool may_cut) {
  add_tiles(call, n_parts);
  deal_out(n_parts, may_cut);
  place_partials();
  chain(n_parts);
  scratch_stride_ = attend_scratch_size(call.layer.heads.head_dim) / Line::kFloats;
  scratch_.resize(std::max(scratch_.size(), scratch_stride_ * to_size(n_parts)));
}

void AttentionPlan::add_tiles(const Call& call, int n_parts) {
  const HeadLayout& heads = call.layer.heads;
  const int group = heads.n_heads / heads.n_kv_heads;
  int n_pieces = 0;  // that could go to different threads
  for (const SequenceSpan& span : call.shape.sequences) {
    n_pieces += heads.n_kv_heads * ((span.seen_end() - 1) / kSpanPositions + 1 -
                                    first_key(call.options.window, span.first_position) / kSpanPositions);
  }
  // Query heads of one kv head share its loads; only when threads would stand idle do they part.
  const int heads_per_tile = std::min(n_pieces < n_parts ? (group + 1) / 2 : group, kMaxItemHeads);
  const int rows_per_tile = std::min(kMaxItemRows, kMaxItemQueries / heads_per_tile);

  const std::size_t head_bytes = head_block_bytes(call.layer);
  const float* sinks = call.options.sinks ? address<const float>(call.options.sinks) : nullptr;
  tiles_.clear();
  for (const SequenceSpan& span : call.shape.sequences) {
    for (int row = 0; row < span.n_rows; row += rows_per_tile) {
      const int n_rows = std::min(rows_per_tile, span.n_rows - row), position = span.first_position + row;
      for (int head = 0; head < heads.n_heads;) {
        const int kv_head = head / group;
        const int n_heads = std::min(heads_per_tile, (kv_head + 1) * group - head);
        tiles_.push_back({.q = row_of(call.q, span.first_row + row) + head * heads.head_dim,
                          .q_stride = call.q.stride,
                          .out = row_of(call.out, span.first_row + row) + head * heads.head_dim,
                          .out_stride = call.out.stride,
                          .n_rows = n_rows,
                          .n_heads = n_heads,
                          .head_dim = heads.head_dim,
                          .first_position = position,
                          .window = call.options.window,
                          .seen_to = span.seen_to,
                          .scale = call.options.scale,
                          .softcap = call.options.softcap,
                          .rounds = !call.options.keeps_f32,
                          .cache = address<const std::byte>(call.layer.data) + to_size(kv_head) * head_bytes,
                          .block_stride = to_size(heads.n_kv_heads) * head_bytes,
                          .blocks = span.blocks.data(),
                          .sinks = sinks == nullptr ? nullptr : sinks + head,
                          .first_span = first_key(call.options.window, position) / kSpanPositions,
                          .last_span = 0});
        AttendItem& tile = tiles_.back();
        tile.last_span = last_key(tile, n_rows - 1) / kSpanPositions + 1;
        head += n_heads;
      }
    }
  }
}

void AttentionPlan::deal_out(int n_parts, bool may_cut) {
  std::int64_t total = 0, done = 0;
  for (const AttendItem& tile : tiles_) total += weight_of(tile);
  items_.clear();
  cut_.clear();
  pieces_.clear();
  bounds_.assign(1, 0);
  for (const AttendItem& tile : tiles_) {
    const std::int64_t weight = weight_of(tile), begin = done;
    const bool cuts = may_cut && weight * n_parts * kCutPart >= total;
    const std::size_t first_piece = items_.size();
    int span = tile.first_span;
    while (span < tile.last_span) {
      const auto part = static_cast<std::int64_t>(bounds_.size());  // the one whose share is being filled, from 1
      int end = tile.last_span;
      if (part < n_parts && total * part / n_parts < begin + weight) {
        // The share ends in this tile, at the nearest border of spans, or of tiles.
        const std::int64_t n = cuts ? n_spans(tile) : 1;
        const std::int64_t at = ((total * part / n_parts - begin) * n + weight / 2) / weight;
        end = cuts ? std::max(span, tile.first_span + static_cast<int>(at)) : (at <= 0 ? span : end);
        if (end == span) {
          bounds_.push_back(items_.size());
          continue;
        }
      }
      items_.push_back(tile);
      items_.back().first_span = span;
      items_.back().last_span = end;
      span = end;
    }
    done += weight;
    if (items_.size() > first_piece + 1) {
      cut_.push_back(tile);
      pieces_.push_back(first_piece);
    }
  }
  bounds_.resize(to_size(n_parts) + 1, items_.size());
}

void AttentionPlan::place_partials() {
  std::size_t n_floats = 0;
  for (const AttendItem& tile : cut_) n_floats += to_size(n_spans(tile)) * partial_floats(tile);
  partials_.resize(std::max(partials_.size(), n_floats / Line::kFloats));
  float* next = partials_.empty() ? nullptr : partials_.data()->floats;
  for (std::size_t i = 0; i < cut_.size(); ++i) {
    cut_[i].partials = next;
    for (std::size_t piece = pieces_[i]; piece < items_.size(); ++piece) {
      AttendItem& item = items_[piece];
      item.partials = next;
      next += to_size(n_spans(item)) * partial_floats(item);
      if (item.last_span == cut_[i].last_span) break;
    }
  }
}

/// Tells every item where its thread reads next.
void AttentionPlan::chain(int n_parts) {
  for (int part = 0; part < n_parts; ++part) {
    for (std::size_t i = bounds_[to_size(part)]; i + 1 < bounds_[to_size(part) + 1]; ++i) {
      const AttendItem& after = items_[i + 1];
      const int block = std::max(after.first_span * kSpanBlocks, first_block(after));
      items_[i].next = after.cache + to_size(after.blocks[block]) * after.block_stride;
    }
  }
}

std::span<const AttendItem> AttentionPlan::share(int part) const {
  const std::size_t first = bounds_[to_size(part)];
  return std::span(items_).subspan(first, bounds_[to_size(part) + 1] - first);
}

}  // namespace commissure::cpu
