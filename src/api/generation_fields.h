#pragma once

#include <chrono>
#include <optional>

#include "api/fields.h"
#include "engine/engine.h"

namespace commissure {

/// What all generating endpoints read from a body, apart from the prompt, the length and the log-probabilities.
struct GenerationFields {
  GenerationRequest request;  ///< sampling, stop, timeout filled in; defaults of the model applied
  bool stream = false;
  bool tokens_as_ids = false;  ///< return_tokens_as_token_ids
  bool include_usage = false;
  bool continuous_usage = false;
  std::optional<std::chrono::milliseconds> ping;  ///< sse_ping_interval; negative: no comments on this stream
};

/// Reads them; findings stay in `fields`. A seed is drawn when the body has none.
GenerationFields read_generation_fields(Fields& fields, const ServedModel& model);

/// Refuses every member that would change the answer and that this server does not know how to honour, unless it
/// carries its neutral value.
void refuse_unsupported(Fields& fields);

/// Refuses a `model` that is neither absent nor one of `names`: 404 model_not_found.
void check_model(Fields& fields, const std::vector<std::string>& names);

/// Whether prompt and completion fit. `max_tokens` as in GenerationRequest.
std::optional<ApiError> check_context(const ServedModel& model, std::size_t n_prompt, int max_tokens,
                                      std::string_view param);

/// Token ids from a JSON array; each must be in the vocabulary.
std::optional<std::vector<TokenId>> read_token_ids(Fields& fields, std::string_view name, const Json& list,
                                                   const Tokenizer& tokenizer);

}  // namespace commissure
