#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "answer/answer_syntax.h"
#include "core/json.h"
#include "engine/adapter_keeper.h"
#include "engine/generation.h"
#include "engine/image_encoder.h"
#include "jinja/chat_template.h"
#include "step/stage_info.h"
#include "step/stage_link.h"
#include "text/tokenizer.h"

namespace commissure {

/// What the engine serves: the text side of one model.
struct ServedModel {
  std::string name;
  std::int64_t created = 0;  ///< Unix seconds
  int context_length = 0;    ///< positions a sequence may have (prompt and completion)
  GenerationDefaults defaults;
  std::shared_ptr<const Tokenizer> tokenizer;         // shared: HTTP threads tokenise beside the engine
  std::shared_ptr<const ChatTemplate> chat_template;  // may be null: completions only
  AnswerSyntax answer_syntax;                         ///< how its answers mark thoughts and tool calls
  std::string chat_template_problem;     ///< why the model's own template is of no use; empty: it has none, or it works
  Json special_tokens = Json::object();  ///< texts that templates know by name, unk_token, pad_token, ...
  std::shared_ptr<GrammarCompiler> grammars;    ///< null: answers cannot be held to anything; shared: as the tokenizer
  std::shared_ptr<ImageEncoder> image_encoder;  ///< null: it takes text alone; shared: HTTP threads ask it
  int n_rows = 0;  ///< of the vocabulary in the model, ids beyond the tokenizer included; 0: as the tokenizer has
};

struct EngineOptions {
  int max_sequences = 16;   ///< running at once
  int max_step_rows = 512;  ///< token budget of one step, prefill and decode together
  int queue_limit = 256;    ///< requests that may wait; one more is refused with kResourceExhausted
  int steps_in_flight = 2;
  int decode_slots = 0;            ///< steps that decode rows are spread over; 0: steps_in_flight
  int max_decode_slots = 0;        ///< above decode_slots: the number follows from measured times (SlotPolicy)
  bool shares_cores = false;       ///< the stages take turns on the same cores
  int max_mixed_prefill_rows = 0;  ///< prompt rows a step may have beside decodes; 0: a quarter of max_step_rows
  /// How many times as long a step with decode rows may take while a prompt comes in as without (PrefillPace). A lower
  /// value keeps running streams at an even pace, a higher one brings the prompt's first token sooner. 1 or less: only
  /// max_mixed_prefill_rows limits prompt rows.
  double max_slowdown = 2.5;
  /// Prompts that may be partly computed at a time (SchedulerOptions). Above 1, a long prompt leaves a part of each
  /// step's prompt rows to shorter ones behind it; 1: first come, first served.
  int max_partial_prefills = 4;
  /// How long requests wait for a broken chain to come back, counted from the break, before they get an error event.
  std::chrono::milliseconds recovery_limit{60'000};
  bool prefix_cache = true;          ///< prompts with a common beginning share its KV blocks
  std::int32_t n_kv_blocks = 0;      ///< the chain's KV capacity in blocks
  std::int32_t n_window_blocks = 0;  ///< the same for the layers with a sliding window
  int window = 0;                    ///< positions that the widest window spans; 0: no layer has a window
  bool keeps_states = false;         ///< the model has recurrent layers, so no prefix cache (SchedulerOptions)
  int n_layers = 0;
  std::vector<int> boundary_row_bytes = {};  ///< bytes of one row into stage i + 1, for the metrics
  AdapterOptions adapters = {};
};

struct EngineStats {
  int running = 0;
  int waiting = 0;
  int decode_slots = 0;  ///< steps in flight that decode rows are spread over
  double kv_usage = 0;   ///< 0 to 1, of the fuller one of the two KV pools
  std::int32_t kv_blocks_used = 0;
  std::int32_t kv_window_blocks_used = 0;
  std::uint64_t steps = 0;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t generated_tokens = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t replays = 0;         ///< sequences computed again, by some or all stages, after the chain broke
  std::uint64_t kept = 0;            ///< sequences that went on without that, since every stage had their rows
  std::uint64_t prefix_queries = 0;  ///< tokens looked up in the prefix cache
  std::uint64_t prefix_hits = 0;     ///< tokens found there
  std::vector<StageTiming> last_timings;
};

using RequestHandle = std::uint64_t;

/// Requests in, event streams out. One scheduler thread drives the chain of stages behind `chain`.
/// Threading: any thread may call the public functions.
class Engine {
 public:
  /// `chain` is the whole model, first stage to last; it outlives the engine, which starts it here and stops it at the
  /// end. Its health() is called from any thread.
  static std::unique_ptr<Engine> create(ServedModel model, EngineOptions options, StageLink& chain);
  virtual ~Engine() = default;

  virtual const ServedModel& model() const = 0;
  virtual const EngineOptions& options() const = 0;
  /// The adapters that requests may name; null: the engine takes none.
  virtual AdapterKeeper* adapters() const { return nullptr; }

  /// Queues a request; returns at once. After a success the sink gets at least one event, the last with `finish`.
  /// The sink may be called before this returns, from the engine's thread.
  /// A request with an adapter waits until the stages have that. Errors (sink never called): kInvalidArgument, bad ids
  /// or parameters; kOutOfRange, the prompt and max_tokens exceed the context (both numbers named); kResourceExhausted,
  /// the queue is full (max_sequences + queue_limit requests are alive); kUnavailable, the engine drains, or the chain
  /// was never ready or has been broken for longer than the recovery limit. While it has been broken for less, new
  /// requests wait in the queue and running ones pause.
  virtual Result<RequestHandle> submit(GenerationRequest request, EventSink sink) = 0;

  /// Whether submit() takes any request now: before work that only a request will need. The error is submit()'s own,
  /// kResourceExhausted or kUnavailable. A request that comes after a success may still be refused.
  virtual Status admission() const = 0;

  /// Ends a request whose client went away: its rows leave the next step, its KV is free within one step. Its sink is
  /// not called again after this returns. Unknown or finished handles are ignored.
  virtual void cancel(RequestHandle request) = 0;

  /// Empties the prefix cache before the next step is planned; requests that run keep what they took from it.
  virtual void reset_prefix_cache() = 0;

  /// Whether the whole chain can serve now; the error says why not.
  virtual Status health() const = 0;
  virtual EngineStats stats() const = 0;

  /// All metrics of this engine in Prometheus' text format.
  virtual std::string metrics_text() const = 0;

  /// Accepts nothing new; returns when running requests have finished or `grace` is over (the rest get an error event).
  virtual void drain(std::chrono::milliseconds grace) = 0;
};

}  // namespace commissure
