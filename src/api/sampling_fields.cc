#include "api/sampling_fields.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <random>

namespace commissure {

namespace {

constexpr std::size_t kMaxBadWords = kMaxBadSequences / 2;  // each may become two token sequences
constexpr std::size_t kMaxBadWordBytes = 1024;              // each
constexpr std::size_t kMaxBadWordsBytes = 64 << 10;         // all together
constexpr std::size_t kMaxBreakers = 32;
constexpr std::size_t kMaxBreakerBytes = 256;

std::uint64_t random_seed() {
  thread_local std::mt19937_64 generator{(std::uint64_t{std::random_device{}()} << 32) ^ std::random_device{}()};
  return generator();
}

/// Any 64-bit integer, signed or not; -1 and absent draw one.
std::uint64_t read_seed(Fields& fields) {
  const Json* value = fields.find("seed");
  if (value == nullptr) return random_seed();
  if (value->is_number_unsigned()) return value->get<std::uint64_t>();
  const auto seed = fields.integer("seed", INT64_MIN, INT64_MAX);
  return !seed || *seed == -1 ? random_seed() : static_cast<std::uint64_t>(*seed);
}

struct Range {
  double low, high;
  bool open_low = false;
};

/// Reads numbers over the values they have already.
class NumberReader {
 public:
  explicit NumberReader(Fields& fields) : fields_(fields) {}

  /// Whether the body had any of the numbers so far.
  bool any() const { return any_; }

  void real(std::string_view name, const Range& range, float& value) {
    const auto number = fields_.number(name, range.low, range.high, range.open_low);
    if (!number) return;
    any_ = true;
    value = static_cast<float>(*number);
    // A positive number that rounds to 0 as a float must not fall out of its range.
    if (range.open_low) value = std::max(value, std::numeric_limits<float>::min());
  }
  void whole(std::string_view name, std::int64_t low, int& value) {
    const auto number = fields_.integer(name, low, INT32_MAX);
    if (!number) return;
    any_ = true;
    value = static_cast<int>(*number);
  }

 private:
  Fields& fields_;
  bool any_ = false;
};

void apply_defaults(const GenerationDefaults& defaults, SamplingParams& sampling) {
  sampling.temperature = defaults.temperature.value_or(sampling.temperature);
  sampling.top_p = defaults.top_p.value_or(sampling.top_p);
  sampling.min_p = defaults.min_p.value_or(sampling.min_p);
  sampling.top_k = defaults.top_k.value_or(sampling.top_k);
  sampling.repetition_penalty = defaults.repetition_penalty.value_or(sampling.repetition_penalty);
  sampling.xtc_probability = defaults.xtc_probability.value_or(sampling.xtc_probability);
  sampling.xtc_threshold = defaults.xtc_threshold.value_or(sampling.xtc_threshold);
  sampling.mirostat = defaults.mirostat.value_or(sampling.mirostat);
}

/// Returns whether the body has any of them.
bool read_numbers(Fields& fields, SamplingParams& sampling) {
  NumberReader read(fields);
  read.real("temperature", {0, 2}, sampling.temperature);
  // 0 keeps the likeliest token alone, as any positive number that small does.
  read.real("top_p", {0, 1}, sampling.top_p);
  sampling.top_p = std::max(sampling.top_p, std::numeric_limits<float>::min());
  read.real("min_p", {0, 1}, sampling.min_p);
  read.whole("top_k", -1, sampling.top_k);
  sampling.top_k = std::max(sampling.top_k, 0);  // -1 is a common spelling of "off"
  read.real("repeat_penalty", {0, 100, true}, sampling.repetition_penalty);
  read.real("repetition_penalty", {0, 100, true}, sampling.repetition_penalty);
  read.real("presence_penalty", {-2, 2}, sampling.presence_penalty);
  read.real("frequency_penalty", {-2, 2}, sampling.frequency_penalty);
  read.real("typical", {0, 1}, sampling.typical_p);
  read.real("typical_p", {0, 1}, sampling.typical_p);
  sampling.typical_p = std::max(sampling.typical_p, std::numeric_limits<float>::min());
  read.real("top_n_sigma", {-1, 1000}, sampling.top_n_sigma);
  sampling.top_n_sigma = std::max(sampling.top_n_sigma, 0.0f);
  read.real("xtc_probability", {0, 1}, sampling.xtc_probability);
  read.real("xtc_threshold", {0, 1}, sampling.xtc_threshold);
  read.real("dry_multiplier", {0, 1000}, sampling.dry.multiplier);
  read.real("dry_base", {1, 1000}, sampling.dry.base);
  read.whole("dry_allowed_length", 0, sampling.dry.allowed_length);
  read.whole("dry_penalty_last_n", kDryOutputAlone, sampling.dry.last_n);
  int version = sampling.mirostat.is_on ? 2 : 0;
  read.whole("mirostat", 0, version);
  if (version != 0 && version != 2)
    fields.fail("mirostat", "'mirostat' must be 0 (off) or 2; version 1 is not supported");
  sampling.mirostat.is_on = version == 2;
  read.real("mirostat_tau", {0, 1000}, sampling.mirostat.tau);
  read.real("mirostat_eta", {0, 1000}, sampling.mirostat.eta);
  return read.any();
}

/// Whether the body has a field about how to draw tokens that is no number.
bool has_other_drawing_field(const Fields& fields) {
  constexpr std::string_view kNames[] = {"logit_bias", "allowed_token_ids", "bad_words", "dry_sequence_breakers",
                                         "do_sample"};
  return std::ranges::any_of(kNames, [&](std::string_view name) { return fields.find(name) != nullptr; });
}

/// vLLM's name, per request, and llama.cpp's.
void read_logprobs_mode(Fields& fields, SamplingParams& sampling) {
  const auto mode = fields.text("logprobs_mode");
  const bool post_sampling = fields.boolean("post_sampling_probs").value_or(mode == "processed_logprobs");
  sampling.processed_logprobs = post_sampling;
  if (!mode) return;
  if (mode != "raw_logprobs" && mode != "processed_logprobs") {
    return fields.fail("logprobs_mode", "'logprobs_mode' must be \"raw_logprobs\" or \"processed_logprobs\"");
  }
  if (post_sampling != (mode == "processed_logprobs")) {
    fields.fail("post_sampling_probs", "'post_sampling_probs' and 'logprobs_mode' contradict each other");
  }
}

void read_biases(Fields& fields, const Tokenizer& tokenizer, SamplingParams& sampling) {
  const Json* object = fields.object("logit_bias");
  if (object == nullptr) return;
  if (object->size() > kMaxBiases) {
    return fields.fail("logit_bias",
                       fmt::format("'logit_bias' has {} entries, but may have at most {}", object->size(), kMaxBiases));
  }
  for (const auto& [key, value] : object->items()) {
    std::int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= tokenizer.n_tokens()) {
      return fields.fail("logit_bias",
                         fmt::format("'logit_bias' has the key '{}', which is no token id; ids are between 0 and {}",
                                     key.substr(0, 40), tokenizer.n_tokens() - 1));
    }
    const double bias = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!(bias >= -100 && bias <= 100)) {
      return fields.fail("logit_bias",
                         fmt::format("'logit_bias' of token {} must be a number between -100 and 100", id));
    }
    sampling.logit_bias.push_back({TokenId(id), static_cast<float>(bias)});
  }
}

void read_allowed(Fields& fields, const Tokenizer& tokenizer, SamplingParams& sampling) {
  const Json* list = fields.array("allowed_token_ids");
  if (list == nullptr) return;
  if (list->empty() || list->size() > kMaxTokenList) {
    return fields.fail("allowed_token_ids",
                       fmt::format("'allowed_token_ids' has {} ids, must have 1 to {}", list->size(), kMaxTokenList));
  }
  if (auto ids = read_token_ids(fields, "allowed_token_ids", *list, tokenizer)) sampling.allowed = std::move(*ids);
}

/// As vLLM reads them: a word as it begins a text, and as it follows a space when that is as many other tokens.
void read_bad_words(Fields& fields, const Tokenizer& tokenizer, SamplingParams& sampling) {
  const auto words = fields.texts("bad_words", kMaxBadWords, kMaxBadWordBytes).value_or(std::vector<std::string>());
  std::size_t n_bytes = 0;
  for (const std::string& word : words) n_bytes += word.size();
  if (n_bytes > kMaxBadWordsBytes) {
    return fields.fail("bad_words", fmt::format("'bad_words' have {} bytes together, but may have at most {}", n_bytes,
                                                kMaxBadWordsBytes));
  }
  for (const std::string& word : words) {
    const std::size_t begin = std::min(word.find_first_not_of(' '), word.size());
    const auto tokens_of = [&](const std::string& text) {
      return tokenizer.encode(text, {.add_special = false, .parse_special = false});
    };
    const std::vector<TokenId> plain = tokens_of(begin < word.size() ? word.substr(begin) : word);
    const std::vector<TokenId> spaced = tokens_of(std::string(1, ' ').append(word, begin));
    if (plain.empty() || plain.size() > kMaxBadTokens) {
      return fields.fail("bad_words", fmt::format("'bad_words' has an entry of {} tokens, must be 1 to {}",
                                                  plain.size(), kMaxBadTokens));
    }
    const auto add = [&](const std::vector<TokenId>& tokens) {
      tokens.size() == 1 ? sampling.banned.push_back(tokens.front()) : sampling.bad_sequences.push_back(tokens);
    };
    add(plain);
    if (spaced.size() == plain.size() && spaced.front() != plain.front()) add(spaced);
  }
}

std::vector<std::string> default_breakers() { return {"\n", ":", "\"", "*"}; }

/// The tokens whose text holds a breaker. Looks through the vocabulary, so only when DRY is on.
void read_breakers(Fields& fields, const Tokenizer& tokenizer, VocabularyFacts& vocabulary, SamplingParams& sampling) {
  const auto texts = fields.texts("dry_sequence_breakers", kMaxBreakers, kMaxBreakerBytes).value_or(default_breakers());
  if (sampling.dry.multiplier == 0.0f || !fields.ok()) return;
  sampling.dry.breakers = vocabulary.tokens_with(tokenizer, texts, kMaxTokenList);
  if (sampling.dry.breakers.size() > kMaxTokenList || (sampling.dry.breakers.empty() && !texts.empty())) {
    fields.fail("dry_sequence_breakers", fmt::format("'dry_sequence_breakers' are part of {} tokens, must be 1 to {}",
                                                     sampling.dry.breakers.size(), kMaxTokenList));
  }
}

/// Each list has its bound; all at their bounds together are more than a step has room for.
void check_bytes(Fields& fields, const SamplingParams& sampling) {
  const std::size_t n_allowed = sampling.allowed.size(), n_breakers = sampling.dry.breakers.size();
  std::size_t n_bad = sampling.banned.size();
  for (const auto& sequence : sampling.bad_sequences) n_bad += sequence.size();
  const std::size_t n_bytes = 4 * (n_allowed + n_breakers + n_bad) + 8 * sampling.logit_bias.size();
  if (n_bytes <= kMaxSamplingBytes) return;
  const std::string_view name = n_bad >= std::max(n_allowed, n_breakers) ? "bad_words"
                                : n_allowed >= n_breakers                ? "allowed_token_ids"
                                                                         : "dry_sequence_breakers";
  fields.fail(name, fmt::format("'{}' and the other token lists take {} bytes together, but may take at most {}", name,
                                n_bytes, kMaxSamplingBytes));
}

}  // namespace

Json default_sampling(const GenerationDefaults& defaults) {
  Json json = Json::object();
  // The shortest number that reads back as the float: 0.95, not 0.949999988079071.
  const auto shown = [](float value) { return std::strtod(fmt::format("{}", value).c_str(), nullptr); };
  const auto put = [&](const char* name, const std::optional<float>& value) {
    if (value) json[name] = shown(*value);
  };
  put("temperature", defaults.temperature);
  if (defaults.top_k) json["top_k"] = *defaults.top_k;
  put("top_p", defaults.top_p);
  put("min_p", defaults.min_p);
  put("repetition_penalty", defaults.repetition_penalty);
  put("xtc_probability", defaults.xtc_probability);
  put("xtc_threshold", defaults.xtc_threshold);
  if (defaults.mirostat && defaults.mirostat->is_on) {
    json["mirostat"] = 2;
    json["mirostat_tau"] = shown(defaults.mirostat->tau);
    json["mirostat_eta"] = shown(defaults.mirostat->eta);
  }
  if (defaults.dry) {
    json["dry_multiplier"] = shown(defaults.dry->multiplier);
    json["dry_base"] = shown(defaults.dry->base);
    json["dry_allowed_length"] = defaults.dry->allowed_length;
    json["dry_penalty_last_n"] = defaults.dry->last_n;
  }
  return json;
}

void prepare_vocabulary(const ServedModel& model, VocabularyFacts& vocabulary) {
  vocabulary.longest_token_bytes(*model.tokenizer);
  if (model.defaults.dry) vocabulary.keep_tokens_with(*model.tokenizer, default_breakers(), kMaxTokenList);
}

SamplingParams read_sampling(Fields& fields, const ServedModel& model, VocabularyFacts& vocabulary) {
  SamplingParams sampling;
  apply_defaults(model.defaults, sampling);
  const bool has_numbers = read_numbers(fields, sampling);
  if (!has_numbers && !has_other_drawing_field(fields)) sampling.dry = model.defaults.dry.value_or(sampling.dry);
  NumberReader(fields).whole("min_tokens", 0, sampling.min_tokens);
  sampling.seed = read_seed(fields);
  read_logprobs_mode(fields, sampling);
  read_biases(fields, *model.tokenizer, sampling);
  read_allowed(fields, *model.tokenizer, sampling);
  read_bad_words(fields, *model.tokenizer, sampling);
  read_breakers(fields, *model.tokenizer, vocabulary, sampling);
  check_bytes(fields, sampling);
  return sampling;
}

std::optional<std::vector<TokenId>> read_token_ids(Fields& fields, std::string_view name, const Json& list,
                                                   const Tokenizer& tokenizer) {
  std::vector<TokenId> tokens;
  tokens.reserve(list.size());
  for (const Json& entry : list) {
    const auto value = whole_number(entry);
    if (!value || *value < 0 || *value >= tokenizer.n_tokens()) {
      fields.fail(
          name,
          fmt::format("'{}' holds {}, which is no token id; ids are between 0 and {}", fields.full_name(name),
                      entry.is_number() ? dump_json(entry) : std::string(kind_of(entry)), tokenizer.n_tokens() - 1));
      return std::nullopt;
    }
    tokens.emplace_back(static_cast<std::int32_t>(*value));
  }
  return tokens;
}

}  // namespace commissure
