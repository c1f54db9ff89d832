#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/result.h"
#include "core/trace_parent.h"
#include "grammar/grammar.h"
#include "step/image_rows.h"
#include "step/sampled_tokens.h"
#include "step/sampling_params.h"

namespace commissure {

/// How much the last event tells of the steps that computed a request.
enum class TraceLevel {
  kNone,
  kTimes,   ///< where each step's time went
  kLayers,  ///< the times, and a checksum of the request's rows after every layer
};

/// How many steps of a choice get spans of their own; a span for each of thousands of tokens would drown the trace.
inline constexpr std::size_t kMaxSpanSteps = 64;

/// One step that computed rows of a request.
struct StepTrace {
  StepId step;
  int first_position = 0;
  int n_rows = 0;              ///< rows of this request; the step may have had rows of others
  std::uint32_t total_us = 0;  ///< from submit to answer
  /// First stage first. `wire_us` of the last stage is the time that no stage accounts for: the way back. `checksums`
  /// are the request's own, one per layer of the stage. `has_span`: of this request's rows.
  std::vector<StageTiming> stages;
  std::int64_t started_unix_ns = 0;  ///< when it was submitted, on the wall clock
};

/// What an answer is held to.
struct AnswerGrammar {
  std::shared_ptr<const Grammar> grammar = {};  ///< null: nothing; shared with the compiler's cache
  std::string begun = {};                       ///< what of the grammar's text the prompt's end has already
  /// A thought before the answer is free; this ends it. Empty: the model has none.
  std::string thought_end = {};
  bool is_thinking = false;                   ///< the prompt's end has begun a thought
  std::optional<TokenId> thought_begin = {};  ///< may come first, and begins a thought
  std::vector<TokenId> free_beginnings = {};  ///< may come first, and what follows is not held to anything
};

/// One generation: a tokenised prompt and how to continue it. Values arrive validated by the API; the engine checks
/// again what it relies on (token ids in the vocabulary, lengths against the context).
struct GenerationRequest {
  std::string id;               ///< request id for logs; "" lets the engine choose
  std::vector<TokenId> prompt;  ///< not empty
  SamplingParams sampling;
  int max_tokens = -1;                     ///< -1: whatever fits the context; 0: only score the prompt
  std::vector<std::string> stop;           ///< stop strings
  std::vector<TokenId> stop_tokens;        ///< further ids that end generation
  std::vector<TokenId> shown_tokens = {};  ///< control tokens whose text belongs to the answer
  bool ignore_eos = false;                 ///< end tokens are banned
  bool include_stop = false;               ///< leave the matched stop string in the text
  int prompt_logprobs = -1;                ///< -1: none; k >= 0: score every prompt token, with the k best alternatives
  std::optional<std::chrono::milliseconds> timeout;  ///< from submit to the last token
  int priority = 0;                                  ///< the lower, the earlier it runs and the later it is preempted
  TraceLevel trace = TraceLevel::kNone;
  std::optional<TraceParent> trace_parent = {};  ///< stages with a collector tell it of the first kMaxSpanSteps steps
  int choice = 0;                                ///< place in the client's request, for its spans
  std::string cache_salt;                        ///< shares cached prefixes only with requests of the same salt
  std::string adapter = {};                      ///< its name; empty: the base model
  float adapter_scale = 1.0f;                    ///< multiplies what the adapter adds
  AnswerGrammar grammar = {};
  /// In rising order of position; the prompt has ImageMarks::token in each place.
  std::vector<PlacedImage> images = {};
};

enum class FinishReason { kStop, kLength, kCancelled, kError };
std::string_view finish_reason_name(FinishReason reason);

struct Usage {
  int prompt_tokens = 0;
  int completion_tokens = 0;  ///< EOS included
  int cached_tokens = 0;      ///< tokens of the prompt that came from the prefix cache
  int reasoning_tokens = 0;   ///< tokens of thoughts, where the API told them apart
};

/// One token of the answer: its bytes may be part of a code point.
struct GeneratedToken {
  TokenId token;
  std::string bytes;
  std::optional<ScoredToken> score;  ///< when n_logprobs >= 0
};

/// What happened since the last event. Text is whole code points and never part of a stop string; `tokens` are the
/// tokens whose text has been sent. The last event has `finish` set; after an error it also has `error`.
struct GenerationEvent {
  std::string text;
  std::vector<GeneratedToken> tokens;
  std::vector<ScoredToken> prompt_scores;  ///< in the first event: entry i scores prompt token i + 1
  std::optional<FinishReason> finish;
  std::optional<std::string> stop_string;  ///< which stop string matched
  std::optional<TokenId> stop_token;       ///< or which token ended it
  std::optional<Error> error;
  Usage usage;                   ///< so far
  std::vector<StepTrace> trace;  ///< in the last event, when asked for
};

/// Receives a request's events in order, on the engine's thread: hand over and return, never block.
using EventSink = std::function<void(GenerationEvent)>;

/// Sampling defaults of a model: what its makers advise in its own files, or what the catalogue says of a known model.
/// An absent field has no default.
struct GenerationDefaults {
  std::optional<float> temperature, top_p, min_p, repetition_penalty, xtc_probability, xtc_threshold;
  std::optional<MirostatParams> mirostat;
  std::optional<int> top_k;
  /// Against the loops of a very small model. It holds only for requests that say nothing about how to draw tokens: who
  /// asks for temperature 0 gets exactly the likeliest tokens.
  std::optional<DryParams> dry = {};
  std::string source = {};          ///< who says all this: a file of the model, or "catalogue"; empty: nobody
  std::vector<TokenId> end_tokens;  ///< besides the tokenizer's own
};

}  // namespace commissure
