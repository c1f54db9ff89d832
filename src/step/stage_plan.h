#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace commissure {

/// Layers [first, last) of the whole model.
struct LayerRange {
  int first = 0;
  int last = 0;
  int n_layers() const { return last - first; }
  bool operator==(const LayerRange&) const = default;
};

/// The name of stage `index`: "a", "b", ... "z".
inline std::string stage_name(int index) { return std::string(1, static_cast<char>('a' + index)); }

/// Which part of the model one stage runs. The first stage embeds, the last one holds the head and samples.
struct StagePlan {
  int index = 0;  ///< 0 is stage A
  int n_stages = 1;
  int n_model_layers = 0;
  LayerRange layers;

  bool is_first() const { return index == 0; }
  bool is_last() const { return index == n_stages - 1; }
  std::string name() const { return stage_name(index); }
  bool operator==(const StagePlan&) const = default;
};

inline constexpr int kMaxStages = 26;

/// Stages first to last of a chain, by index, both included; empty when last < first.
struct StageSpan {
  int first = 0;
  int last = -1;

  bool empty() const { return last < first; }
  bool contains(int index) const { return first <= index && index <= last; }
  /// The smallest span that holds both.
  StageSpan operator|(const StageSpan& other) const;
  bool operator==(const StageSpan&) const = default;
};
inline constexpr StageSpan kAllStages{0, kMaxStages - 1};

/// The plans of all stages for layer boundaries `cuts` (strictly rising, each in (0, n_model_layers)); without cuts one
/// stage. Errors: kInvalidArgument naming the cut.
Result<std::vector<StagePlan>> plan_stages(int n_model_layers, std::span<const int> cuts);

/// Cuts that level the stages' bytes. `layer_bytes` has one entry per layer; `first_bytes` and `last_bytes` are what
/// the embedding and the head add to the ends. Every stage gets at least one layer. Errors: kInvalidArgument, more
/// stages than layers or than kMaxStages.
Result<std::vector<int>> balance_cuts(std::span<const std::uint64_t> layer_bytes, std::uint64_t first_bytes,
                                      std::uint64_t last_bytes, int n_stages);

/// "10,20" to {10, 20}. Errors: kInvalidArgument naming the bad part.
Result<std::vector<int>> parse_cuts(std::string_view text);

}  // namespace commissure
