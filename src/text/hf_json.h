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

/// The value of a member that is a boolean (or a string), or `fallback` when it is absent or of another kind.
bool json_bool(const Json& object, std::string_view key, bool fallback);
std::string json_text(const Json& object, std::string_view key, std::string_view fallback = {});

/// The regular expression that a component's "pattern" stands for: {"Regex": ...} as it is, {"String": ...} escaped.
/// Errors: kInvalidArgument, the component has neither.
Result<std::string> pattern_source(const Json& component);

/// Appends the steps of a "normalizer" (null: none).
/// Errors: kInvalidArgument, it is broken; kUnimplemented, its type is not known here.
Status add_normaliser(const Json& component, Normaliser& normaliser);

/// Appends the steps of a "pre_tokenizer" (null: none) and sets `is_byte_level` where a step spells bytes as GPT-2
/// does. Errors: as add_normaliser.
Status add_pre_tokenizer(const Json& component, PreTokenizer& pre_tokenizer, bool& is_byte_level);

}  // namespace commissure
