#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.h"
#include "core/index.h"
#include "sched/scheduler.h"

// The part of the scheduler that deals with steps in flight: their answers, their failure, their loss.

namespace commissure {

Sequence* Scheduler::find(const ScheduledRows& rows) {
  const auto it = sequences_.find(rows.sequence);
  return it != sequences_.end() && it->second->life == rows.life ? it->second.get() : nullptr;
}

Result<std::vector<Progress>> Scheduler::commit(const SampledTokens& tokens, std::chrono::microseconds took) {
  if (in_flight_.empty()) return Error(Code::kDataLoss, "step ", tokens.step.value, " answered, none is in flight");
  TRY(check_result(in_flight_.front(), tokens));
  const ScheduledStep step = std::move(in_flight_.front());
  in_flight_.pop_front();
  latest_.clear();
  for (const ScheduledRows& rows : step.slices) latest_.push_back(rows.sequence);
  if (took.count() > 0 && step.n_decoding > 0 && step.is_timed) {
    pace_.on_step(step.n_decoding, step.n_prompt_rows_in_flight, took);
    if (step.n_prompt_rows == 0) slots_.on_step(step.n_decoding, count_of(step.slices), took, tokens.timings);
  }

  if (step.is_rebuild) {
    commit_rebuild(step);
    return std::vector<Progress>();
  }
  std::vector<Progress> progress;
  progress.reserve(step.slices.size());
  for (std::size_t i = 0; i < step.slices.size(); ++i) {
    const ScheduledRows& rows = step.slices[i];
    Sequence* sequence = find(rows);
    if (sequence == nullptr) continue;
    sequence->rows.answer(rows.rows);
    keep_blocks(*sequence);
    windows_.slide(sequence->window, sequence->rows.n_answered, sequence->rows.n_answered < sequence->images_end());
    Progress& made = progress.emplace_back();
    made.sequence = rows.sequence;
    made.n_cached = std::min(sequence->n_cached, sequence->n_prompt());
    made.sampled = tokens.results[i].sampled;
    if (made.sampled) sequence->tokens.push_back(made.sampled->chosen.token);
    made.no_choice = tokens.results[i].no_choice;
    if (tokens.results[i].mirostat_mu) sequence->spec.params.mirostat.mu = tokens.results[i].mirostat_mu;
    if (rows.n_targets == 0) continue;
    const int n = std::min(rows.n_targets, sequence->n_prompt() - 1 - rows.rows.first);
    made.first_scored = rows.rows.first;
    made.scored.assign(tokens.results[i].scored.begin(), tokens.results[i].scored.begin() + n);
    sequence->n_scored = std::max(sequence->n_scored, rows.rows.first + n);
  }
  return progress;
}

Status Scheduler::check_result(const ScheduledStep& step, const SampledTokens& tokens) const {
  const auto wrong = [&](const auto&... what) {
    return Error(Code::kDataLoss, "step ", step.step.value, ": ", what...);
  };
  if (tokens.step != step.step) return wrong("the stages answered step ", tokens.step.value);
  if (tokens.results.size() != step.slices.size()) {
    return wrong("the stages answered ", tokens.results.size(), " sequences of ", step.slices.size());
  }
  for (std::size_t i = 0; i < step.slices.size(); ++i) {
    const ScheduledRows& rows = step.slices[i];
    const SequenceResult& result = tokens.results[i];
    if (result.sequence != rows.sequence) {
      return wrong("result ", i, " is for sequence ", result.sequence.value, ", not ", rows.sequence.value);
    }
    if ((result.sampled.has_value() || result.no_choice) != rows.sample || (result.sampled && result.no_choice))
      return wrong("sequence ", rows.sequence.value, ": sample missing or unasked");
    if (result.mirostat_mu && !std::isfinite(*result.mirostat_mu))
      return wrong("sequence ", rows.sequence.value, ": the state of mirostat is not finite");
    if (std::ssize(result.scored) != rows.n_targets) {
      return wrong("sequence ", rows.sequence.value, ": ", result.scored.size(), " scores for ", rows.n_targets,
                   " targets");
    }
    if (result.sampled) TRY(check_token(*result.sampled));
    for (const ScoredToken& scored : result.scored) TRY(check_token(scored));
  }
  return {};
}

Status Scheduler::check_token(const ScoredToken& token) const {
  const auto good = [&](const TokenLogprob& t) {
    return t.token.value >= 0 && t.token.value < options_.n_vocabulary && !std::isnan(t.logprob);
  };
  if (good(token.chosen) && std::ranges::all_of(token.top, good)) return {};
  return Error(Code::kDataLoss, "the stages answered token ", token.chosen.token.value, " with log-probability ",
               token.chosen.logprob, ", outside the vocabulary of ", options_.n_vocabulary, " or not a number");
}

std::vector<SequenceId> Scheduler::fail_step() {
  CHECK(!in_flight_.empty());
  const ScheduledStep step = std::move(in_flight_.front());
  in_flight_.pop_front();
  // Nobody knows whether the stages saw this step's releases. Those of living sequences get no second one now, which
  // might take away what a later step created again; they get it when they end, or leave once more.
  for (const SequenceId id : step.released) {
    const auto living = sequences_.find(id);
    if (living == sequences_.end()) {
      released_.push_back(id);
    } else {
      living->second->was_known = true;
    }
  }
  std::vector<SequenceId> failed;
  for (const ScheduledRows& rows : step.slices) {
    Sequence* const sequence = find(rows);
    if (sequence == nullptr) continue;
    failed.push_back(rows.sequence);
    if (!step.is_rebuild) ++sequence->n_lost_slices;
  }
  return failed;
}

}  // namespace commissure
