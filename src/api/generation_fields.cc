#include "api/generation_fields.h"

#include <algorithm>
#include <random>

namespace commissure {

namespace {

constexpr std::size_t kMaxStops = 16;
constexpr double kMaxTimeoutSeconds = 86400;

/// Members without support yet, and the value that asks for nothing. Empty texts, lists and objects, false and null are
/// neutral for all.
struct Refused {
  std::string_view name;
  std::optional<double> neutral = std::nullopt;
};
constexpr Refused kRefused[] = {
    {"n", 1},
    {"best_of", 1},
    {"presence_penalty", 0},
    {"frequency_penalty", 0},
    {"repetition_penalty", 1},
    {"repeat_penalty", 1},
    {"min_tokens", 0},
    {"typical_p", 1},
    {"typical", 1},
    {"top_n_sigma", -1},
    {"dry_multiplier", 0},
    {"xtc_probability", 0},
    {"mirostat", 0},
    {"dynatemp_range", 0},
    {"length_penalty", 1},
    {"logit_bias"},
    {"suffix"},
    {"bad_words"},
    {"allowed_token_ids"},
    {"functions"},
    {"structured_outputs"},
    {"guided_json"},
    {"guided_regex"},
    {"guided_choice"},
    {"guided_grammar"},
    {"grammar"},
    {"json_schema"},
    {"prompt_logprobs"},
    {"prompt_embeds"},
    {"truncate_prompt_tokens"},
    {"logprob_token_ids"},
    {"thinking_token_budget"},
    {"lora"},
    {"chat_template"},
    {"continue_final_message"},
    {"use_beam_search"},
    {"audio"},
};

bool asks_nothing(const Json& value, std::optional<double> neutral) {
  if (value.is_number()) return neutral && value.get<double>() == *neutral;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.empty();
}

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

SamplingParams read_sampling(Fields& fields, const GenerationDefaults& defaults) {
  const auto real = [&](std::string_view name, double low, double high, bool open, std::optional<float> model,
                        float last) {
    if (const auto value = fields.number(name, low, high, open)) return static_cast<float>(*value);
    return model.value_or(last);
  };
  SamplingParams sampling;
  sampling.temperature = real("temperature", 0, 2, false, defaults.temperature, sampling.temperature);
  sampling.top_p = real("top_p", 0, 1, true, defaults.top_p, sampling.top_p);
  sampling.min_p = real("min_p", 0, 1, false, defaults.min_p, sampling.min_p);
  if (const auto top_k = fields.integer("top_k", -1, INT32_MAX)) {
    sampling.top_k = static_cast<int>(std::max<std::int64_t>(*top_k, 0));  // -1 is a common spelling of "off"
  } else {
    sampling.top_k = defaults.top_k.value_or(sampling.top_k);
  }
  // A positive number that rounds to 0 as a float must not fall out of the range (0, 1].
  if (sampling.top_p <= 0) sampling.top_p = std::numeric_limits<float>::min();
  sampling.seed = read_seed(fields);
  return sampling;
}

/// true, false, or "layers" for checksums too.
TraceLevel read_trace(Fields& fields) {
  const Json* value = fields.find("trace");
  if (value == nullptr) return TraceLevel::kNone;
  if (value->is_boolean()) return value->get<bool>() ? TraceLevel::kTimes : TraceLevel::kNone;
  if (*value != "layers") fields.fail("trace", "'trace' must be true, false or \"layers\"");
  return TraceLevel::kLayers;
}

void read_stream_options(Fields& fields, GenerationFields& result) {
  result.stream = fields.boolean("stream").value_or(false);
  if (const Json* options = fields.object("stream_options")) {
    Fields inner(*options, "stream_options.");
    result.include_usage = inner.boolean("include_usage").value_or(false);
    result.continuous_usage = inner.boolean("continuous_usage_stats").value_or(false);
    if (inner.error()) fields.fail(*inner.error());
  }
  if (const auto seconds = fields.number("sse_ping_interval", -1, kMaxTimeoutSeconds)) {
    // 0 would be a stream of comments.
    result.ping = std::chrono::milliseconds(
        *seconds > 0 ? std::max<std::int64_t>(static_cast<std::int64_t>(*seconds * 1000), 100) : -1);
  }
}

}  // namespace

GenerationFields read_generation_fields(Fields& fields, const ServedModel& model) {
  GenerationFields result;
  GenerationRequest& request = result.request;
  request.sampling = read_sampling(fields, model.defaults);
  request.stop = fields.texts("stop", kMaxStops).value_or(std::vector<std::string>());
  if (const Json* ids = fields.array("stop_token_ids")) {
    if (auto tokens = read_token_ids(fields, "stop_token_ids", *ids, *model.tokenizer))
      request.stop_tokens = std::move(*tokens);
  }
  request.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  request.include_stop = fields.boolean("include_stop_str_in_output").value_or(false);
  if (const auto seconds = fields.number("timeout", 0, kMaxTimeoutSeconds, true)) {
    request.timeout = std::chrono::milliseconds(std::max<std::int64_t>(1, static_cast<std::int64_t>(*seconds * 1000)));
  }
  request.trace = read_trace(fields);
  read_stream_options(fields, result);
  refuse_unsupported(fields);
  return result;
}

void refuse_unsupported(Fields& fields) {
  const auto refuse = [&](std::string_view name, const std::string& cure) {
    ApiError error =
        bad_field(name, fmt::format("'{}' is not supported by this server{}", fields.full_name(name), cure));
    error.code = "unsupported_parameter";
    fields.fail(std::move(error));
  };
  for (const Refused& entry : kRefused) {
    const Json* value = fields.find(entry.name);
    if (value == nullptr || asks_nothing(*value, entry.neutral)) continue;
    refuse(entry.name,
           entry.neutral ? fmt::format("; leave it out or set it to {}", *entry.neutral) : "; leave it out");
  }
  const Json* choice = fields.find("tool_choice");
  const bool no_tools = choice != nullptr && *choice == "none";
  if (choice != nullptr && !no_tools && *choice != "auto") refuse("tool_choice", "; use \"none\" or leave it out");
  if (const Json* tools = fields.find("tools"); tools != nullptr && !tools->empty() && !no_tools) {
    refuse("tools", "; leave it out or set tool_choice to \"none\"");
  }
  if (const Json* format = fields.object("response_format"); format != nullptr && !format->empty()) {
    const Json* type = find_member(*format, "type");
    if (type == nullptr || *type != "text") refuse("response_format", " except {\"type\": \"text\"}");
  }
  if (const Json* modalities = fields.array("modalities")) {
    if (std::any_of(modalities->begin(), modalities->end(), [](const Json& m) { return m != "text"; })) {
      refuse("modalities", " except [\"text\"]");
    }
  }
  if (const Json* skip = fields.find("skip_special_tokens"); skip != nullptr && *skip == false) {
    refuse("skip_special_tokens", "; leave it out");
  }
}

void check_model(Fields& fields, const std::vector<std::string>& names) {
  const auto model = fields.text("model");
  if (!model || model->empty() || std::find(names.begin(), names.end(), *model) != names.end()) return;
  fields.fail(
      {.status = 404,
       .message = fmt::format("The model '{}' does not exist here; this server has '{}'.", *model, names.front()),
       .type = "not_found_error",
       .param = "model",
       .code = "model_not_found"});
}

std::optional<ApiError> check_context(const ServedModel& model, std::size_t n_prompt, int max_tokens,
                                      std::string_view param) {
  const auto context = static_cast<std::size_t>(model.context_length);
  const std::size_t needed = n_prompt + static_cast<std::size_t>(max_tokens < 0 ? 1 : max_tokens);
  if (needed <= context) return std::nullopt;
  return context_overflow(model.context_length, static_cast<int>(n_prompt), max_tokens, param);
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
