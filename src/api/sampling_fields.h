#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "api/fields.h"
#include "engine/engine.h"

namespace commissure {

/// Reads everything that decides which token comes next, under vLLM's and llama.cpp's names. The defaults are the
/// model's, then those of SamplingParams; a seed is drawn when the body has none. Findings stay in `fields`.
SamplingParams read_sampling(Fields& fields, const ServedModel& model);

/// Token ids from a JSON array; each must be in the vocabulary.
std::optional<std::vector<TokenId>> read_token_ids(Fields& fields, std::string_view name, const Json& list,
                                                   const Tokenizer& tokenizer);

}  // namespace commissure
