#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "api/fields.h"
#include "api/vocabulary.h"
#include "engine/engine.h"

namespace commissure {

/// Reads everything that decides which token comes next, under vLLM's and llama.cpp's names. The defaults are the
/// model's, then those of SamplingParams; a seed is drawn when the body has none. The model's DRY holds only where the
/// body has no field at all about how to draw tokens. Findings stay in `fields`.
SamplingParams read_sampling(Fields& fields, const ServedModel& model, VocabularyFacts& vocabulary);

/// A model's sampling defaults under the names of a request's fields, for clients that want to know them.
Json default_sampling(const GenerationDefaults& defaults);

/// Finds out beforehand what a request that asks for nothing special needs to know of the vocabulary.
void prepare_vocabulary(const ServedModel& model, VocabularyFacts& vocabulary);

/// Bytes that the token lists of one sequence may take: they travel to the last stage in the header of a step, with
/// those of every other sequence that begins there.
inline constexpr std::size_t kMaxSamplingBytes = 96 << 10;

/// Token ids from a JSON array; each must be in the vocabulary.
std::optional<std::vector<TokenId>> read_token_ids(Fields& fields, std::string_view name, const Json& list,
                                                   const Tokenizer& tokenizer);

}  // namespace commissure
