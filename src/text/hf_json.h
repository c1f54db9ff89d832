#pragma once

#include <string>
#include <string_view>

#include "core/json.h"
#include "core/result.h"
#include "text/normaliser.h"
#include "text/pre_tokenizer.h"

// Parts of Hugging Face's tokenizer.json. Source: the tokenizers crate, its serialised forms.
namespace commissure {

/// The member "type" of a component, or "".
std::string component_type(const Json& component);

/// A member's value, or `fallback` when it is absent or of another kind.
bool json_bool(const Json& object, std::string_view key, bool fallback);
std::string json_text(const Json& object, std::string_view key, std::string_view fallback = {});

/// A "pattern" {"String": ...} or {"Regex": ...} as a regular expression's source.
/// Errors: kInvalidArgument.
Result<std::string> pattern_source(const Json& component);

/// Appends the steps of a "normalizer".
/// Errors: kInvalidArgument, broken; kUnimplemented, a type we do not know.
Status add_normaliser(const Json& component, Normaliser& normaliser);

/// Appends the steps of a "pre_tokenizer"; sets `is_byte_level` when one of them spells bytes as GPT-2 does.
/// Errors: as add_normaliser.
Status add_pre_tokenizer(const Json& component, PreTokenizer& pre_tokenizer, bool& is_byte_level);

}  // namespace commissure
