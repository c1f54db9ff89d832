#include "plan/chain_search.h"

#include <algorithm>
#include <cmath>

namespace commissure {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

std::int64_t cost_of(const Machine& machine) { return std::llround(machine.usd_per_hour * 1e6); }

/// Not worse in any time, but for the noise of adding in another order.
template <typename Prefix>
bool beats(const Prefix& one, const Prefix& other) {
  constexpr double kNoise = 1 + 1e-12;
  return one.sum <= other.sum * kNoise && one.chunk_sum <= other.chunk_sum * kNoise &&
         one.chunk_most <= other.chunk_most * kNoise;
}

}  // namespace

/// The longest a stream may wait for its next token.
double ChainSearch::limit() const { return wish_.tokens_per_second > 0 ? 1 / wish_.tokens_per_second : kNever; }

double ChainSearch::sum_limit() const { return limit() - 2 * (n_stages_ - 1) * catalogue_.hop_seconds; }

double ChainSearch::chunk_limit() const {
  if (wish_.first_token_seconds <= 0) return kNever;
  return wish_.first_token_seconds - 2 * (n_stages_ - 1) * catalogue_.hop_seconds;
}

const ChainSearch::StageTimes& ChainSearch::stage(int begin, int end, int machine) {
  const std::size_t row = to_size(machine) * model_.layers.size() + to_size(begin);
  StageTimes& times = times_[row * (model_.layers.size() + 1) + to_size(end)];
  if (times.is_known) return times;
  const PlannedStage stage = plan_stage(model_, {begin, end}, *machines_[to_size(machine)], wish_, n_stages_);
  const bool is_fast = std::min(n_stages_, wish_.streams) * stage.step_seconds <= limit();
  times = {true, stage.fits(wish_.margin) && is_fast, stage.step_seconds, stage.chunk_seconds};
  return times;
}

/// Layers that stage `index` may end at: every stage has one.
bool ChainSearch::can_end(int index, int end) const {
  return index == n_stages_ - 1 ? end == n_layers() : end <= n_layers() - (n_stages_ - 1 - index);
}

/// Whether even the cheapest machines for the stages behind `index` would make the chain cost too much.
bool ChainSearch::is_dear(std::int64_t cost, int index, double most_usd_per_hour) const {
  if (most_usd_per_hour == kNever) return false;
  const Machine& cheapest = **std::ranges::min_element(machines_, {}, [](const Machine* m) { return cost_of(*m); });
  return cost + (n_stages_ - 1 - index) * cost_of(cheapest) > std::llround(most_usd_per_hour * 1e6) + n_stages_;
}

void ChainSearch::extend(const Prefixes& before, int index, int begin, int end, double most_usd_per_hour,
                         Table& table) {
  const bool limits_first_token = wish_.first_token_seconds > 0;
  const int n_chunks = prompt_chunks(wish_);
  Prefixes& after = table[index + 1][end];
  for (std::size_t m = 0; m < machines_.size(); ++m) {
    const StageTimes& last = stage(begin, end, static_cast<int>(m));
    if (!last.is_possible) continue;
    for (const auto& [cost, front] : before) {
      const std::int64_t total = cost + cost_of(*machines_[m]);
      if (is_dear(total, index, most_usd_per_hour)) continue;
      for (std::size_t i = 0; i < front.size(); ++i) {
        Prefix next{front[i].sum + last.step, 0, 0, begin, static_cast<int>(m), cost, i};
        if (limits_first_token) {
          next.chunk_sum = front[i].chunk_sum + last.chunk;
          next.chunk_most = std::max(front[i].chunk_most, last.chunk);
        }
        if (next.sum > sum_limit() || next.chunk_sum + (n_chunks - 1) * next.chunk_most > chunk_limit()) continue;
        Front& rivals = after[total];
        if (std::ranges::any_of(rivals, [&](const Prefix& rival) { return beats(rival, next); })) continue;
        std::erase_if(rivals, [&](const Prefix& rival) { return beats(next, rival); });
        rivals.push_back(next);
      }
    }
  }
}

/// The cheapest chain, first stage to last; empty when there is none.
std::vector<ChainSearch::Place> ChainSearch::search(double most_usd_per_hour) {
  Table table(n_stages_ + 1, std::vector<Prefixes>(n_layers() + 1));
  table[0][0][0] = {Prefix()};
  for (int index = 0; index < n_stages_; ++index) {
    for (int begin = index; begin < n_layers(); ++begin) {
      const Prefixes& before = table[index][begin];
      if (before.empty()) continue;
      for (int end = begin + 1; end <= n_layers(); ++end) {
        if (can_end(index, end)) extend(before, index, begin, end, most_usd_per_hour, table);
      }
    }
  }
  return read_back(table);
}

std::vector<ChainSearch::Place> ChainSearch::read_back(const Table& table) const {
  std::vector<Place> places;
  const Prefixes& whole = table[n_stages_][n_layers()];
  if (whole.empty()) return places;
  std::int64_t cost = whole.begin()->first;
  std::size_t index = 0;
  for (int stage = n_stages_, end = n_layers(); stage > 0; --stage) {
    const Prefix& prefix = table[stage][end].at(cost)[index];
    places.insert(places.begin(), {prefix.begin, prefix.machine});
    end = prefix.begin;
    cost = prefix.cost_before;
    index = prefix.before;
  }
  return places;
}

/// Cuts for these machines that make the slowest stage as fast as can be.
std::optional<std::vector<PlannedStage>> ChainSearch::levelled(const std::vector<Place>& places) {
  struct Cell {
    double slowest = kNever;
    int begin = 0;
  };
  std::vector<std::vector<Cell>> table(n_stages_ + 1, std::vector<Cell>(n_layers() + 1));
  table[0][0].slowest = 0;
  for (int index = 0; index < n_stages_; ++index) {
    for (int begin = index; begin < n_layers(); ++begin) {
      const double before = table[index][begin].slowest;
      if (before == kNever) continue;
      for (int end = begin + 1; end <= n_layers(); ++end) {
        if (!can_end(index, end)) continue;
        const StageTimes& last = stage(begin, end, places[to_size(index)].machine);
        if (!last.is_possible) continue;
        Cell& cell = table[index + 1][end];
        const double slowest = std::max(before, last.step);
        if (slowest < cell.slowest) cell = {slowest, begin};
      }
    }
  }
  if (table[n_stages_][n_layers()].slowest == kNever) return std::nullopt;
  std::vector<Place> level = places;
  for (int index = n_stages_, end = n_layers(); index > 0; --index) {
    end = level[index - 1].begin = table[index][end].begin;
  }
  return placed(level);
}

std::vector<PlannedStage> ChainSearch::placed(const std::vector<Place>& places) const {
  std::vector<PlannedStage> stages;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const int end = i + 1 < places.size() ? places[i + 1].begin : n_layers();
    stages.push_back(plan_stage(model_, {places[i].begin, end}, *machines_[places[i].machine], wish_, n_stages_));
  }
  return stages;
}

bool ChainSearch::meets_wishes(const std::vector<PlannedStage>& stages) const {
  const ChainPlan plan = total_chain(model_, stages, catalogue_, wish_);
  const bool soon = wish_.first_token_seconds <= 0 || plan.first_token_seconds <= wish_.first_token_seconds;
  return soon && plan.tokens_per_second >= wish_.tokens_per_second;
}

std::optional<std::vector<PlannedStage>> ChainSearch::cheapest(double most_usd_per_hour) {
  const std::vector<Place> places = search(most_usd_per_hour);
  if (places.empty()) return std::nullopt;
  auto level = levelled(places);
  // On unlike machines level cuts may add up to more time than the cuts that were found.
  if (level && meets_wishes(*level)) return level;
  return placed(places);
}

}  // namespace commissure
