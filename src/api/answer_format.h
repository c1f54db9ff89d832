#pragma once

#include <memory>
#include <string>
#include <vector>

#include "answer/answer_parser.h"
#include "api/generation_run.h"

namespace commissure {

/// How the answers of /v1/chat/completions and /v1/completions look, beside their tokens.
struct AnswerShape {
  std::string model;               ///< as shown in the answer
  std::string system_fingerprint;  ///< "" is null
  bool logprobs = false;
  int prompt_logprobs = -1;    ///< -1: not shown; else the number of alternatives per prompt token
  bool tokens_as_ids = false;  ///< completions: log-probabilities name tokens "token_id:N"
  bool include_usage = false;
  bool continuous_usage = false;
  std::shared_ptr<const Tokenizer> tokenizer;  // shared with the engine's model
};

/// The frame all chunks of one stream share: written once, since it costs more than the token in it.
class ChunkFrame {
 public:
  ChunkFrame(std::string_view id_prefix, std::string_view object, const AnswerShape& shape);

  /// One event around the choice; `choices` is the array's inside, "" for none. `more`: further members, each with a
  /// comma before it.
  std::string event(std::string_view choices, const Usage* usage, bool null_usage, std::string_view more = {}) const;
  /// {id, object, created, model, system_fingerprint} for answers in one piece.
  Json envelope(std::string_view object) const;

 private:
  std::string id_;
  std::int64_t created_;
  std::string model_;
  Json fingerprint_;
  std::string head_;
};

/// `plan`: how each choice's text is told apart; null: it is content.
std::unique_ptr<AnswerFormat> make_chat_format(AnswerShape shape, int n_choices,
                                               std::shared_ptr<const AnswerPlan> plan);

/// For /v1/messages. `plan` as above.
std::unique_ptr<AnswerFormat> make_messages_format(std::string model, std::string request_id,
                                                   std::shared_ptr<const AnswerPlan> plan);

/// For /v1/responses.
///   echo  members of the response that tell what was asked
///   plan  as above
std::unique_ptr<AnswerFormat> make_responses_format(std::string model, Json echo,
                                                    std::shared_ptr<const AnswerPlan> plan);

/// For Ollama's /api/chat, and for its /api/generate, whose answers are no messages. `plan` as above.
std::unique_ptr<AnswerFormat> make_ollama_format(AnswerShape shape, bool is_chat,
                                                 std::shared_ptr<const AnswerPlan> plan);

/// For /v1/completions, whose choices are numbered prompt after prompt.
///   prompts  per prompt, its tokens, for log-probabilities under echo
///   texts    per prompt, the text that comes before the answer; empty: no echo
///   n_top    alternatives that these show
struct CompletionEcho {
  std::vector<std::vector<TokenId>> prompts = {};
  std::vector<std::string> texts = {};
  int n_top = 0;
};
/// `n`: choices per prompt.
std::unique_ptr<AnswerFormat> make_completion_format(AnswerShape shape, int n_prompts, int n, CompletionEcho echo);

/// Gathers `best_of` candidates per prompt and gives the `n` with the highest mean log-probability to `inner`,
/// likeliest first. Not for streams. Every candidate has log-probabilities.
std::unique_ptr<AnswerFormat> make_best_of_format(std::unique_ptr<AnswerFormat> inner, int n_prompts, int n,
                                                  int best_of);

/// For /generate. `echo`: what comes before the answer, "" for nothing.
std::unique_ptr<AnswerFormat> make_generate_format(std::string model, std::string echo, std::uint64_t seed);

}  // namespace commissure
