#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/generation_fields.h"
#include "core/json.h"
#include "engine/engine.h"
#include "http/http.h"

namespace commissure {

/// "stop", "length", ... of the OpenAI API.
std::string_view openai_finish(FinishReason reason);

/// {prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details, completion_tokens_details}
Json usage_json(const Usage& usage);

/// {"steps": [{step, position, rows, total_us, stages: [{stage, queue_us, compute_us, wire_us, checksums?}]}]}
Json trace_json(const std::vector<StepTrace>& trace);

/// Characters of a text in UTF-8.
std::int64_t count_code_points(std::string_view bytes);

/// Unix seconds.
std::int64_t unix_now();

/// `prefix` and 24 random hexadecimal digits.
std::string random_id(std::string_view prefix);

/// {"content": [{token, bytes, logprob, top_logprobs}], "refusal": null} of chat answers.
Json chat_logprobs(const Tokenizer& tokenizer, const std::vector<GeneratedToken>& tokens);

/// vLLM's prompt_logprobs: null for the first token, then {"ID": {logprob, rank, decoded_token}} for each, the `n_top`
/// likeliest and the prompt's own. `rank` counts from 1; null for an own token that is not among the likeliest.
Json prompt_logprobs(const Tokenizer& tokenizer, const std::vector<ScoredToken>& scores, int n_top);

/// The four parallel arrays of /v1/completions, built as text comes. A token's text_offset is the code point of the
/// choice's whole text, echoed prompt included, in which its first byte lies; tokens that are no text (BOS) take no
/// room.
class CompletionLogprobs {
 public:
  /// `as_ids`: tokens are named "token_id:N" instead of by their text.
  explicit CompletionLogprobs(const Tokenizer& tokenizer, bool as_ids = false)
      : tokenizer_(tokenizer), as_ids_(as_ids) {}

  /// For an echoed prompt, before the tokens of the answer.
  ///   text    what is echoed
  ///   scores  entry i belongs to prompt token i + 1; the first token has none
  ///   n_top   alternatives that are shown of each
  void add_prompt(const std::vector<TokenId>& prompt, std::string_view text, const std::vector<ScoredToken>& scores,
                  int n_top);
  void add(const std::vector<GeneratedToken>& tokens);

  /// What was added since the last call; text offsets go on counting.
  Json take();

 private:
  void push(TokenId token, std::int64_t offset, const ScoredToken* score, int n_top = kMaxTopLogprobs);
  std::string name_of(TokenId token) const;

  const Tokenizer& tokenizer_;
  const bool as_ids_;
  std::int64_t offset_ = 0;  // code points that are finished
  std::string held_;         // bytes of one that is not
  Json tokens_ = Json::array();
  Json logprobs_ = Json::array();
  Json top_ = Json::array();
  Json offsets_ = Json::array();
};

}  // namespace commissure
