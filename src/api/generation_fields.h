#pragma once

#include <chrono>
#include <optional>

#include "api/api_options.h"
#include "api/fields.h"
#include "engine/engine.h"

namespace commissure {

/// Choices, and candidates, that one prompt may have.
inline constexpr int kMaxChoices = 128;

/// Most alternatives that may be asked for, of a token of the answer or of the prompt.
inline constexpr int kMaxTopLogprobs = 20;

/// Stop strings of a request, and bytes of each.
inline constexpr std::size_t kMaxStops = 16;
inline constexpr std::size_t kMaxStopBytes = 1024;

/// What all generating endpoints read from a body, apart from the prompt, the length and the log-probabilities.
struct GenerationFields {
  GenerationRequest request;  ///< sampling, stop, timeout filled in; defaults of the model applied
  int n = 1;                  ///< choices per prompt
  int best_of = 0;            ///< candidates per prompt, of which the n likeliest are the answer; 0: n
  bool stream = false;
  bool tokens_as_ids = false;  ///< return_tokens_as_token_ids
  bool include_usage = false;
  bool continuous_usage = false;
  bool include_warming = false;  ///< stream_options.include_warming: events while the chain wakes, beside comments
  std::optional<std::chrono::milliseconds> ping;  ///< sse_ping_interval; negative: no comments on this stream
};

/// Reads them; findings stay in `fields`. A seed is drawn when the body has none.
GenerationFields read_generation_fields(Fields& fields, const ServedModel& model, const ApiOptions& options);

/// Reads `sanitize`: whether control tokens that the body spells are plain text. Without it, as the server was told.
bool sanitizes(Fields& fields, const ApiOptions& options);

/// Reads `n`.
void read_choices(Fields& fields, GenerationFields& result);

/// Refuses `name` with its `cure`, which follows the sentence.
void refuse_field(Fields& fields, std::string_view name, std::string_view cure);

/// Refuses `n` or `best_of` above 1 where one answer is all there can be.
void refuse_choices(Fields& fields, std::string_view name);

/// Reads `prompt_logprobs` into the request.
void read_prompt_logprobs(Fields& fields, GenerationRequest& request);

/// Refuses a `min_tokens` above the request's max_tokens.
void check_min_tokens(Fields& fields, const GenerationRequest& request);

/// Refuses every member that would change the answer and that this server does not know how to honour, unless it
/// carries its neutral value.
void refuse_unsupported(Fields& fields);

/// The served name and its aliases.
std::vector<std::string> model_names(const ServedModel& model, const ApiOptions& options);

/// The adapter that a model's name means, NAME or BASE:NAME; empty: the model as it is; nothing: there is no such name.
std::optional<std::string> find_adapter(const std::string& name, const ServedModel& model, const ApiOptions& options);

/// The adapters there are, by name.
std::vector<AdapterSource> all_adapters(const ApiOptions& options);

/// 404 model_not_found, with the names there are.
ApiError unknown_model(const std::string& name, const ServedModel& model, const ApiOptions& options);

/// Refuses a `model` that is neither absent nor a name of the model or an adapter.
void check_model(Fields& fields, const ServedModel& model, const ApiOptions& options);

/// Reads what a checked `model` means for the request, and `lora_scale`.
void read_adapter(Fields& fields, const ServedModel& model, const ApiOptions& options, GenerationRequest& request);

/// A length of the answer: -1 for no limit but the context, else at least `low`.
std::optional<int> read_length(Fields& fields, std::string_view name, int low);

/// Refuses a prompt that leaves no room for a token of the answer, where one is asked for. `max_tokens` as in
/// GenerationRequest.
std::optional<ApiError> check_context(const ServedModel& model, std::size_t n_prompt, int max_tokens,
                                      std::string_view param);

/// Refuses, by its bytes alone, a text that no tokeniser makes fit the context: to tokenise it only to find out would
/// take seconds.
std::optional<ApiError> check_text(const ServedModel& model, const ApiOptions& options, std::string_view text,
                                   std::string_view param);

/// What a prompt of so many tokens leaves of the context, where that is less than `max_tokens`.
int fit_tokens(const ServedModel& model, std::size_t n_prompt, int max_tokens);

}  // namespace commissure
