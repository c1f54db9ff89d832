#include "step/stage_plan.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "core/index.h"

namespace commissure {
namespace {

std::uint64_t add_saturating(std::uint64_t a, std::uint64_t b) {
  return a > std::numeric_limits<std::uint64_t>::max() - b ? std::numeric_limits<std::uint64_t>::max() : a + b;
}

/// How good a partial split is: first the largest stage, then (among equals) evenness, so that the remainder of
/// 30 / 4 is spread as 8, 8, 7, 7 and not 8, 8, 8, 6.
using Cost = std::pair<std::uint64_t, double>;

Cost extend(const Cost& before, std::uint64_t stage_bytes) {
  const double size = static_cast<double>(stage_bytes);
  return {std::max(before.first, stage_bytes), before.second + size * size};
}

}  // namespace

StageSpan StageSpan::operator|(const StageSpan& other) const {
  if (empty()) return other;
  if (other.empty()) return *this;
  return {std::min(first, other.first), std::max(last, other.last)};
}

Result<std::vector<StagePlan>> plan_stages(int n_model_layers, std::span<const int> cuts) {
  if (n_model_layers < 1) return Error(Code::kInvalidArgument, "the model has ", n_model_layers, " layers");
  const int n_stages = static_cast<int>(std::min<std::size_t>(cuts.size(), kMaxStages)) + 1;
  if (n_stages > kMaxStages) {
    return Error(Code::kInvalidArgument, cuts.size(), " cuts make ", cuts.size() + 1, " stages, at most ", kMaxStages,
                 " are possible");
  }
  std::vector<StagePlan> plans;
  int first = 0;
  for (int index = 0; index < n_stages; ++index) {
    const int last = index + 1 < n_stages ? cuts[index] : n_model_layers;
    if (index + 1 < n_stages && (last <= 0 || last >= n_model_layers)) {
      return Error(Code::kInvalidArgument, "cut ", last, " is outside the model: cuts go from 1 to ",
                   n_model_layers - 1, " for ", n_model_layers, " layers");
    }
    if (last <= first) {
      return Error(Code::kInvalidArgument, "cut ", last, " follows cut ", first, ": cuts must rise");
    }
    plans.push_back({index, n_stages, n_model_layers, {first, last}});
    first = last;
  }
  return plans;
}

Result<std::vector<int>> balance_cuts(std::span<const std::uint64_t> layer_bytes, std::uint64_t first_bytes,
                                      std::uint64_t last_bytes, int n_stages) {
  const int n_layers = count_of(layer_bytes);
  if (n_stages < 1 || n_stages > kMaxStages) {
    return Error(Code::kInvalidArgument, n_stages, " stages asked for, 1 to ", kMaxStages, " are possible");
  }
  if (n_stages > n_layers) {
    return Error(Code::kInvalidArgument, n_stages, " stages asked for, the model has only ", n_layers, " layers");
  }
  // best[s][l]: the best split of layers [0, l) into s + 1 stages; from[s][l]: where its last stage begins.
  const Cost never{std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<double>::infinity()};
  const std::vector<Cost> no_costs(layer_bytes.size() + 1, never);
  std::vector<std::vector<Cost>> best(n_stages, no_costs);
  std::vector<std::vector<int>> from(n_stages, std::vector<int>(layer_bytes.size() + 1, 0));
  for (int stage = 0; stage < n_stages; ++stage) {
    for (int end = stage + 1; end <= n_layers; ++end) {
      const bool to_the_end = stage == n_stages - 1;
      std::uint64_t bytes = to_the_end ? last_bytes : 0;
      Cost& cost = best[stage][end];
      for (int begin = end - 1; begin >= stage; --begin) {
        bytes = add_saturating(bytes, layer_bytes[begin]);
        if (stage == 0 && begin > 0) continue;  // the first stage begins at layer 0
        const Cost candidate =
            stage == 0 ? extend({}, add_saturating(bytes, first_bytes)) : extend(best[stage - 1][begin], bytes);
        if (begin == end - 1 || candidate < cost || stage == 0) {
          cost = candidate;
          from[stage][end] = begin;
        }
      }
    }
  }
  std::vector<int> cuts;
  for (int stage = n_stages - 1, end = n_layers; stage > 0; --stage) {
    end = from[stage][end];
    cuts.push_back(end);
  }
  std::reverse(cuts.begin(), cuts.end());
  return cuts;
}

Result<std::vector<int>> parse_cuts(std::string_view text) {
  std::vector<int> cuts;
  if (text.empty()) return cuts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    const std::string_view part = text.substr(begin, comma - begin);
    int cut = 0;
    const auto [end, problem] = std::from_chars(part.data(), part.data() + part.size(), cut);
    if (part.empty() || problem != std::errc() || end != part.data() + part.size() || cut < 1) {
      return Error(Code::kInvalidArgument, "'", part, "' is no layer number in cuts '", text,
                   "': write them like 10,20");
    }
    if (cuts.size() + 1 >= kMaxStages) {
      return Error(Code::kInvalidArgument, "cuts '", text, "' make more than ", kMaxStages, " stages");
    }
    cuts.push_back(cut);
    begin = comma + 1;
  }
  return cuts;
}

}  // namespace commissure
