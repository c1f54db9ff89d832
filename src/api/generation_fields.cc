#include "api/generation_fields.h"

#include <algorithm>
#include <limits>

#include "api/sampling_fields.h"
#include "core/index.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxStopTokens = 1024;
constexpr double kMaxTimeoutSeconds = 86400;
/// Each cached beginning keeps its salt.
constexpr std::size_t kMaxSaltBytes = 256;

/// Members without support yet, and the value that asks for nothing. Empty texts, lists and objects, false and null are
/// neutral for all.
struct Refused {
  std::string_view name;
  std::optional<double> neutral = std::nullopt;
};
constexpr Refused kRefused[] = {
    {"dynatemp_range", 0},
    {"length_penalty", 1},
    {"suffix"},
    {"functions"},
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

/// true, false, or "layers" for checksums too.
TraceLevel read_trace(Fields& fields) {
  const Json* value = fields.find("trace");
  if (value == nullptr) return TraceLevel::kNone;
  if (value->is_boolean()) return value->get<bool>() ? TraceLevel::kTimes : TraceLevel::kNone;
  if (*value != "layers") fields.fail("trace", "'trace' must be true, false or \"layers\"");
  return TraceLevel::kLayers;
}

std::string read_cache_salt(Fields& fields) {
  std::string salt = fields.text("cache_salt").value_or("");
  if (salt.size() > kMaxSaltBytes)
    fields.fail("cache_salt", fmt::format("'cache_salt' has {} bytes; at most {} fit", salt.size(), kMaxSaltBytes));
  return salt;
}

void read_stream_options(Fields& fields, GenerationFields& result) {
  result.stream = fields.boolean("stream").value_or(false);
  if (const Json* options = fields.object("stream_options")) {
    Fields inner(*options, "stream_options.");
    result.include_usage = inner.boolean("include_usage").value_or(false);
    result.include_warming = inner.boolean("include_warming").value_or(false);
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

GenerationFields read_generation_fields(Fields& fields, const ServedModel& model, const ApiOptions& options) {
  GenerationFields result;
  GenerationRequest& request = result.request;
  request.sampling = read_sampling(fields, model, *options.vocabulary);
  request.stop = fields.texts("stop", kMaxStops, kMaxStopBytes).value_or(std::vector<std::string>());
  if (const Json* ids = fields.array("stop_token_ids")) {
    if (ids->size() > kMaxStopTokens) {
      fields.fail("stop_token_ids",
                  fmt::format("'stop_token_ids' has {} ids, but may have at most {}", ids->size(), kMaxStopTokens));
    } else if (auto tokens = read_token_ids(fields, "stop_token_ids", *ids, *model.tokenizer))
      request.stop_tokens = std::move(*tokens);
  }
  request.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  request.include_stop = fields.boolean("include_stop_str_in_output").value_or(false);
  if (const auto seconds = fields.number("timeout", 0, kMaxTimeoutSeconds, true)) {
    request.timeout = std::chrono::milliseconds(std::max<std::int64_t>(1, static_cast<std::int64_t>(*seconds * 1000)));
  }
  constexpr std::int64_t kMostPriority = std::numeric_limits<std::int32_t>::max();
  request.priority = static_cast<int>(fields.integer("priority", -kMostPriority, kMostPriority).value_or(0));
  request.trace = read_trace(fields);
  request.cache_salt = read_cache_salt(fields);
  read_adapter(fields, model, options, request);
  read_stream_options(fields, result);
  refuse_unsupported(fields);
  return result;
}

void refuse_field(Fields& fields, std::string_view name, std::string_view cure) {
  ApiError error = bad_field(name, fmt::format("'{}' is not supported by this server{}", fields.full_name(name), cure));
  error.code = "unsupported_parameter";
  fields.fail(std::move(error));
}

void refuse_choices(Fields& fields, std::string_view name) {
  const Json* value = fields.find(name);
  if (value != nullptr && !asks_nothing(*value, 1)) refuse_field(fields, name, " here; leave it out or set it to 1");
}

bool sanitizes(Fields& fields, const ApiOptions& options) {
  return fields.boolean("sanitize").value_or(options.sanitize);
}

void read_choices(Fields& fields, GenerationFields& result) {
  result.n = static_cast<int>(fields.integer("n", 1, kMaxChoices).value_or(1));
}

void read_prompt_logprobs(Fields& fields, GenerationRequest& request) {
  request.prompt_logprobs = static_cast<int>(fields.integer("prompt_logprobs", 0, kMaxTopLogprobs).value_or(-1));
}

std::optional<int> read_length(Fields& fields, std::string_view name, int low) {
  const auto length = fields.integer(name, -1, INT32_MAX);
  if (!length) return std::nullopt;
  if (*length != -1 && *length < low) {
    fields.fail(name, fmt::format("'{}' is {}, but must be at least {}, or -1 for no limit but the context",
                                  fields.full_name(name), *length, low));
    return std::nullopt;
  }
  return static_cast<int>(*length);
}

void check_min_tokens(Fields& fields, const GenerationRequest& request) {
  if (request.max_tokens < 0 || request.sampling.min_tokens <= request.max_tokens) return;
  fields.fail("min_tokens", fmt::format("'min_tokens' is {}, but the answer may have at most {} tokens",
                                        request.sampling.min_tokens, request.max_tokens));
}

void refuse_unsupported(Fields& fields) {
  const auto refuse = [&](std::string_view name, const std::string& cure) { refuse_field(fields, name, cure); };
  for (const Refused& entry : kRefused) {
    const Json* value = fields.find(entry.name);
    if (value == nullptr || asks_nothing(*value, entry.neutral)) continue;
    refuse(entry.name,
           entry.neutral ? fmt::format("; leave it out or set it to {}", *entry.neutral) : "; leave it out");
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

std::optional<ApiError> check_context(const ServedModel& model, std::size_t n_prompt, int max_tokens,
                                      std::string_view param) {
  const auto context = to_size(model.context_length);
  if (n_prompt + (max_tokens == 0 ? 0 : 1) <= context) return std::nullopt;
  return context_overflow(model.context_length, static_cast<int>(n_prompt), max_tokens, param);
}

std::optional<ApiError> check_text(const ServedModel& model, const ApiOptions& options, std::string_view text,
                                   std::string_view param) {
  constexpr std::size_t kCheap = 16;  // bytes a token: a text of fewer is tokenised soon enough
  const auto context = to_size(model.context_length);
  if (text.size() <= context * kCheap) return std::nullopt;
  const std::size_t longest = options.vocabulary->longest_token_bytes(*model.tokenizer);
  if (text.size() <= context * longest) return std::nullopt;
  ApiError error{.param = std::string(param), .code = "context_length_exceeded"};
  error.message = fmt::format(
      "This model's maximum context length is {} tokens. However, your prompt has {} bytes, which are at least {} "
      "tokens. Shorten the prompt.",
      context, text.size(), (text.size() + longest - 1) / longest);
  return error;
}

int fit_tokens(const ServedModel& model, std::size_t n_prompt, int max_tokens) {
  return max_tokens < 0 ? -1 : std::min(max_tokens, std::max(0, model.context_length - static_cast<int>(n_prompt)));
}

}  // namespace commissure
