#include "serve/generation_defaults.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "step/sampling_params.h"

namespace commissure {

namespace {

/// The number behind a key of the model's own spelling; nothing where the key is absent or no number.
using NumberOf = std::function<std::optional<double>(const char* key)>;

/// One piece of advice: its key and where its value goes. `set` gives the request that would carry the value alone, so
/// that the same rule judges advice and requests.
struct Advice {
  const char* key;
  void (*set)(double value, SamplingParams& alone);
  void (*keep)(double value, GenerationDefaults& values);
};

constexpr Advice kAdvice[] = {
    {"temperature", [](double v, SamplingParams& p) { p.temperature = static_cast<float>(v); },
     [](double v, GenerationDefaults& d) { d.temperature = static_cast<float>(v); }},
    {"top_p", [](double v, SamplingParams& p) { p.top_p = static_cast<float>(v); },
     [](double v, GenerationDefaults& d) { d.top_p = static_cast<float>(v); }},
    {"min_p", [](double v, SamplingParams& p) { p.min_p = static_cast<float>(v); },
     [](double v, GenerationDefaults& d) { d.min_p = static_cast<float>(v); }},
    {"repetition_penalty", [](double v, SamplingParams& p) { p.repetition_penalty = static_cast<float>(v); },
     [](double v, GenerationDefaults& d) { d.repetition_penalty = static_cast<float>(v); }},
    {"xtc_probability", [](double v, SamplingParams& p) { p.xtc_probability = static_cast<float>(v); },
     [](double v, GenerationDefaults& d) { d.xtc_probability = static_cast<float>(v); }},
    {"xtc_threshold", [](double v, SamplingParams& p) { p.xtc_threshold = static_cast<float>(v); },
     [](double v, GenerationDefaults& d) { d.xtc_threshold = static_cast<float>(v); }},
};

/// A whole number as an int; nothing for fractions and what no int holds.
std::optional<int> whole(double value) {
  const bool fits = value >= std::numeric_limits<int>::min() && value <= std::numeric_limits<int>::max();
  return fits && value == static_cast<int>(value) ? std::optional(static_cast<int>(value)) : std::nullopt;
}

/// Takes what `number_of` finds; `file` and `spelling` are for the warnings.
AdvisedDefaults take_advice(const NumberOf& number_of, const char* file, const std::string& prefix) {
  AdvisedDefaults advised;
  const auto refuse = [&](const char* key, double value, const std::string& why) {
    advised.warnings.push_back(fmt::format("{}: {}{} is {}: {}; it is left out", file, prefix, key, value, why));
  };
  for (const Advice& advice : kAdvice) {
    const auto value = number_of(advice.key);
    if (!value) continue;
    SamplingParams alone;
    advice.set(*value, alone);
    if (const Status legal = validate(alone); !legal) {
      refuse(advice.key, *value, legal.error().message());
      continue;
    }
    advice.keep(*value, advised.values);
    advised.any = true;
  }
  if (const auto top_k = number_of("top_k")) {
    if (const auto k = whole(*top_k); k && *k >= -1) {
      advised.values.top_k = std::max(*k, 0);  // -1 is a common spelling of "off"
      advised.any = true;
    } else {
      refuse("top_k", *top_k, "it must be a whole number, 0 (off) or more");
    }
  }
  return advised;
}

/// eos_token_id: one id or a list of ids.
std::vector<TokenId> read_end_tokens(const Json& object) {
  std::vector<TokenId> tokens;
  const auto add = [&](const Json& id) {
    if (id.is_number_unsigned() && id.get<std::uint64_t>() <= std::numeric_limits<std::int32_t>::max())
      tokens.emplace_back(id.get<std::int32_t>());
  };
  const Json* found = object.is_object() ? find_member(object, "eos_token_id") : nullptr;
  if (found == nullptr) return tokens;
  if (!found->is_array()) add(*found);
  if (found->is_array()) std::ranges::for_each(*found, add);
  return tokens;
}

}  // namespace

AdvisedDefaults defaults_of_config(const Json& generation_config, const Json& config) {
  AdvisedDefaults advised;
  if (generation_config.is_object()) {
    const auto number_of = [&](const char* key) -> std::optional<double> {
      const Json* value = find_member(generation_config, key);
      return value != nullptr && value->is_number() ? std::optional(value->get<double>()) : std::nullopt;
    };
    advised = take_advice(number_of, "generation_config.json", "");
    if (const Json* sample = find_member(generation_config, "do_sample"); sample != nullptr && *sample == false) {
      advised.values.temperature = 0.0f;
      advised.any = true;
    }
    if (advised.any) advised.values.source = "generation_config.json";
  }
  std::vector<TokenId>& ends = advised.values.end_tokens;
  ends = read_end_tokens(generation_config);
  if (ends.empty()) ends = read_end_tokens(config);
  if (const Json* text = config.is_object() ? find_member(config, "text_config") : nullptr;
      ends.empty() && text != nullptr)
    ends = read_end_tokens(*text);
  return advised;
}

AdvisedDefaults defaults_of_gguf(const Metadata& metadata) {
  constexpr std::pair<const char*, const char*> kSpellings[] = {{"temperature", "temp"},
                                                                {"repetition_penalty", "penalty_repeat"}};
  const auto key_of = [&](const char* key) {
    for (const auto& [ours, theirs] : kSpellings) {
      if (std::string_view(ours) == key) return std::string("general.sampling.") + theirs;
    }
    return std::string("general.sampling.") + key;
  };
  AdvisedDefaults advised =
      take_advice([&](const char* key) { return metadata.number(key_of(key)); }, "GGUF header", "general.sampling.");
  // A penalty that looks back on nothing is none.
  if (metadata.integer("general.sampling.penalty_last_n") == 0) advised.values.repetition_penalty.reset();
  if (const auto mirostat = metadata.integer("general.sampling.mirostat"); mirostat == 2) {
    advised.values.mirostat = MirostatParams{
        .is_on = true,
        .tau = static_cast<float>(metadata.number("general.sampling.mirostat_tau").value_or(MirostatParams{}.tau)),
        .eta = static_cast<float>(metadata.number("general.sampling.mirostat_eta").value_or(MirostatParams{}.eta))};
    SamplingParams alone;
    alone.mirostat = *advised.values.mirostat;
    if (const Status legal = validate(alone); !legal) {
      advised.warnings.push_back("GGUF header: general.sampling.mirostat: " + legal.error().message() +
                                 "; it is left out");
      advised.values.mirostat.reset();
    }
    advised.any = true;
  }
  if (advised.any) advised.values.source = "GGUF header";
  return advised;
}

}  // namespace commissure
