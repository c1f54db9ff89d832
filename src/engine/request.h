#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/gate.h"
#include "engine/adapter_keeper.h"
#include "engine/engine.h"
#include "engine/engine_metrics.h"
#include "engine/held_answer.h"
#include "engine/text_stream.h"
#include "step/stage_link.h"

namespace commissure {

using EventGate = Gate<GenerationEvent>;

/// One request inside the engine, from submit to its last event.
struct Request {
  RequestHandle handle = 0;  ///< also its SequenceId
  GenerationRequest asked;
  int max_tokens = 0;  ///< resolved: what fits the context when -1 was asked
  std::vector<TokenId> stop_tokens;
  std::shared_ptr<EventGate> gate;  // shared: cancel() closes it from another thread
  TextStream text;
  RequestTimes times;
  std::optional<RequestTimes::Time> deadline;

  Usage usage;
  std::vector<ScoredToken> prompt_scores;
  bool sent_scores = false;
  int n_replays = 0;                      ///< recoveries since its last progress
  RequestTimes::Time first_replay = {};   ///< when the first of these recoveries began
  bool catches_up = false;                ///< being computed again, no new token yet
  std::optional<HeldAnswer> held = {};    ///< none: the answer is free
  std::optional<AdapterId> adapter = {};  ///< taken from the keeper; none: the base model, or not yet

  SequenceId sequence() const { return SequenceId(handle); }
  /// Prompt tokens whose score is asked for; the first has none.
  std::size_t n_prompt_scores() const { return asked.prompt_logprobs >= 0 ? asked.prompt.size() - 1 : 0; }
  /// Whether there is nothing to compute: no token to generate and none to score.
  bool is_empty() const { return max_tokens == 0 && n_prompt_scores() == 0; }
};

/// What is sent to the scheduler thread: a request, a cancel, a step's answer or a drain.
struct CancelMessage {
  RequestHandle handle;
};
struct DrainMessage {
  RequestTimes::Time until;
  std::promise<void> done;
};
/// What the keeper says of the adapter of a request, or of those it loaded again.
struct AdapterMessage {
  RequestHandle handle;
  Result<AdapterId> adapter;
};
struct ReloadMessage {
  AdapterKeeper::Failures failures;
};
using EngineMessage = std::variant<std::unique_ptr<Request>, CancelMessage, Result<StageOutput>, DrainMessage,
                                   AdapterMessage, ReloadMessage>;

}  // namespace commissure
