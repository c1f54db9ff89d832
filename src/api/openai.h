#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/generation_fields.h"
#include "api/http.h"
#include "core/json.h"
#include "engine/engine.h"

namespace commissure {

/// "stop", "length", ... of the OpenAI API.
std::string_view openai_finish(FinishReason reason);

/// {prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details, completion_tokens_details}
Json usage_json(const Usage& usage);

/// {"steps": [{step, position, rows, total_us, stages: [{stage, queue_us, compute_us, wire_us, checksums?}]}]}
Json trace_json(const std::vector<StepTrace>& trace);

/// Unix seconds.
std::int64_t unix_now();

/// `prefix` and 24 random hexadecimal digits.
std::string random_id(std::string_view prefix);

/// {"content": [{token, bytes, logprob, top_logprobs}], "refusal": null} of chat answers.
Json chat_logprobs(const Tokenizer& tokenizer, const std::vector<GeneratedToken>& tokens);

/// vLLM's prompt_logprobs: null for the first token, then {"ID": {logprob, rank, decoded_token}} for each, the `n_top`
/// likeliest and the prompt's own. `rank` counts from 1; null for an own token that is not among the likeliest.
Json prompt_logprobs(const Tokenizer& tokenizer, const std::vector<ScoredToken>& scores, int n_top);

/// The four parallel arrays of /v1/completions, built as text comes.
class CompletionLogprobs {
 public:
  /// `as_ids`: tokens are named "token_id:N" instead of by their text.
  explicit CompletionLogprobs(const Tokenizer& tokenizer, bool as_ids = false)
      : tokenizer_(tokenizer), as_ids_(as_ids) {}

  /// `scores[i]` belongs to prompt token i + 1; the first token has none. Of each the `n_top` likeliest are shown.
  void add_prompt(const std::vector<TokenId>& prompt, const std::vector<ScoredToken>& scores, int n_top);
  void add(const std::vector<GeneratedToken>& tokens);

  /// What was added since the last call; text offsets go on counting.
  Json take();

 private:
  void push(TokenId token, const std::string& bytes, const ScoredToken* score, int n_top = kMaxTopLogprobs);
  std::string name_of(TokenId token) const;

  const Tokenizer& tokenizer_;
  const bool as_ids_;
  std::int64_t offset_ = 0;  // code points so far
  Json tokens_ = Json::array();
  Json logprobs_ = Json::array();
  Json top_ = Json::array();
  Json offsets_ = Json::array();
};

}  // namespace commissure
