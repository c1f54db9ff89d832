#include "text/hf_json.h"

#include <cctype>
#include <utility>

namespace commissure {

namespace {

using Behaviour = PreTokenizer::Behaviour;

std::string escape_pattern(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalnum(byte) == 0) {
      result += fmt::format("\\x{{{:x}}}", byte);
    } else {
      result += c;
    }
  }
  return result;
}

/// Calls `add` for each component of a Sequence.
template <typename Add>
Status for_each(const Json& component, std::string_view key, const Add& add) {
  const Json* parts = find_member(component, key);
  if (parts == nullptr || !parts->is_array()) {
    return Error(Code::kInvalidArgument, "tokenizer.json: a Sequence has no ", key);
  }
  for (const Json& part : *parts) TRY(add(part));
  return {};
}

Result<Behaviour> read_behaviour(const Json& component) {
  const std::string name = json_text(component, "behavior", "Isolated");
  if (name == "Removed") return Behaviour::kRemoved;
  if (name == "Isolated") return Behaviour::kIsolated;
  if (name == "MergedWithPrevious") return Behaviour::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behaviour::kMergedWithNext;
  if (name == "Contiguous") return Behaviour::kContiguous;
  return Error(Code::kInvalidArgument, "tokenizer.json: unknown split behavior \"", name, "\"");
}

PreTokenizer::Metaspace read_metaspace(const Json& component) {
  using Prepend = PreTokenizer::Metaspace::Prepend;
  PreTokenizer::Metaspace step;
  step.replacement = json_text(component, "replacement", "\xE2\x96\x81");
  const bool adds_prefix = json_bool(component, "add_prefix_space", true);
  const std::string scheme = json_text(component, "prepend_scheme", adds_prefix ? "always" : "never");
  step.prepend = scheme == "first" ? Prepend::kFirst : scheme == "never" ? Prepend::kNever : Prepend::kAlways;
  step.splits = json_bool(component, "split", true);
  return step;
}

Status add_split(std::string_view pattern, Behaviour behaviour, bool is_inverted, PreTokenizer& pre_tokenizer) {
  pre_tokenizer.add(PreTokenizer::Split{TRY(Regex::compile(pattern)), behaviour, is_inverted});
  return {};
}

Status add_byte_level(const Json& component, PreTokenizer& pre_tokenizer) {
  if (json_bool(component, "add_prefix_space", true)) pre_tokenizer.add(PreTokenizer::PrefixSpace{});
  if (!json_bool(component, "use_regex", true)) return {};
  return add_split(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
                   Behaviour::kIsolated, false, pre_tokenizer);
}

}  // namespace

std::string component_type(const Json& component) { return json_text(component, "type"); }

bool json_bool(const Json& object, std::string_view key, bool fallback) {
  const Json* value = find_member(object, key);
  return value != nullptr && value->is_boolean() ? value->get<bool>() : fallback;
}

std::string json_text(const Json& object, std::string_view key, std::string_view fallback) {
  const Json* value = find_member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string(fallback);
}

Result<std::string> pattern_source(const Json& component) {
  if (const Json* pattern = find_member(component, "pattern")) {
    const Json* text = find_member(*pattern, "String");
    if (text != nullptr && text->is_string()) return escape_pattern(text->get<std::string>());
    const Json* regex = find_member(*pattern, "Regex");
    if (regex != nullptr && regex->is_string()) return regex->get<std::string>();
  }
  return Error(Code::kInvalidArgument, "tokenizer.json: ", component_type(component), " without a pattern");
}

Status add_normaliser(const Json& component, Normaliser& normaliser) {
  if (component.is_null()) return {};
  const std::string type = component_type(component);
  if (type == "Sequence") {
    return for_each(component, "normalizers", [&](const Json& part) { return add_normaliser(part, normaliser); });
  }
  if (type == "NFC") {
    normaliser.add(NormalForm::kNfc);
  } else if (type == "NFD") {
    normaliser.add(NormalForm::kNfd);
  } else if (type == "NFKC") {
    normaliser.add(NormalForm::kNfkc);
  } else if (type == "NFKD") {
    normaliser.add(NormalForm::kNfkd);
  } else if (type == "Prepend") {
    normaliser.add(Normaliser::Prepend{json_text(component, "prepend")});
  } else if (type == "Replace") {
    normaliser.add(
        Normaliser::ReplaceRegex{TRY(Regex::compile(TRY(pattern_source(component)))), json_text(component, "content")});
  } else if (type == "Strip") {
    normaliser.add(
        Normaliser::Strip{json_bool(component, "strip_left", true), json_bool(component, "strip_right", true)});
  } else if (type == "Lowercase") {
    normaliser.add(Normaliser::Lowercase{});
  } else if (type == "StripAccents") {
    normaliser.add(Normaliser::StripAccents{});
  } else {
    return Error(Code::kUnimplemented, "tokenizer.json: the normalizer \"", type, "\" is not supported");
  }
  return {};
}

Status add_pre_tokenizer(const Json& component, PreTokenizer& pre_tokenizer, bool& is_byte_level) {
  if (component.is_null()) return {};
  const std::string type = component_type(component);
  if (type == "Sequence") {
    return for_each(component, "pretokenizers",
                    [&](const Json& part) { return add_pre_tokenizer(part, pre_tokenizer, is_byte_level); });
  }
  if (type == "Split") {
    return add_split(TRY(pattern_source(component)), TRY(read_behaviour(component)),
                     json_bool(component, "invert", false), pre_tokenizer);
  }
  if (type == "ByteLevel") {
    is_byte_level = true;
    return add_byte_level(component, pre_tokenizer);
  }
  if (type == "Digits") {
    return add_split(json_bool(component, "individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)", Behaviour::kIsolated,
                     false, pre_tokenizer);
  }
  if (type == "Metaspace") {
    pre_tokenizer.add(read_metaspace(component));
    return {};
  }
  if (type == "Whitespace") return add_split(R"(\w+|[^\w\s]+)", Behaviour::kRemoved, true, pre_tokenizer);
  if (type == "WhitespaceSplit") return add_split(R"(\s)", Behaviour::kRemoved, false, pre_tokenizer);
  if (type == "Punctuation") {
    return add_split(R"([\p{P}$+<=>^`|~])", TRY(read_behaviour(component)), false, pre_tokenizer);
  }
  return Error(Code::kUnimplemented, "tokenizer.json: the pre_tokenizer \"", type, "\" is not supported");
}

}  // namespace commissure
