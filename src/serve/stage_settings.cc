#include "serve/stage_settings.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>

#include "answer/answer_syntax.h"
#include "core/ascii.h"
#include "core/index.h"
#include "kernels/devices.h"
#include "kernels/kv_type.h"
#include "net/host.h"
#include "net/http.h"
#include "net/public_fetch.h"
#include "step/stage_plan.h"
#include "weights/quantisation.h"
#include "wire/frame.h"

namespace commissure {

namespace {

constexpr int kMostThreads = 1024;

/// Read as an int from the start: a longer number that is cut to one would name another port.
Result<int> parse_int(const std::string& name, const std::string& text) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem == std::errc::result_out_of_range) {
    return Error(Code::kInvalidArgument, name, "=\"", text, "\" is out of range");
  }
  if (problem != std::errc() || end != text.data() + text.size() || value < 0) {
    return Error(Code::kInvalidArgument, name, "=\"", text, "\" is not a whole number");
  }
  return value;
}

Result<std::uint64_t> parse_bytes(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size())
    return Error(Code::kInvalidArgument, "COMMISSURE_ADAPTER_BYTES=\"", text, "\" is no number of bytes");
  return value;
}

/// Layer boundaries from CUTS or from K1, K2, ... without a gap.
Result<std::vector<int>> cuts_from(const Environment& environment) {
  if (const auto text = environment("CUTS")) return parse_cuts(*text);
  std::vector<int> cuts;
  for (int i = 1; i < kMaxStages; ++i) {
    const std::string name = fmt::format("K{}", i);
    const auto text = environment(name);
    if (!text) continue;
    if (count_of(cuts) != i - 1) {
      return Error(Code::kInvalidArgument, name, " is set but K", cuts.size() + 1,
                   " is not; name the boundaries K1, K2, ... in order");
    }
    cuts.push_back(TRY(parse_int(name, *text)));
  }
  return cuts;
}

Result<std::vector<std::string>> keys_from(const Environment& environment) {
  std::vector<std::string> keys;
  if (const auto key = environment("COMMISSURE_API_KEY")) keys.push_back(*key);
  if (const auto path = environment("COMMISSURE_API_KEY_FILE")) {
    std::ifstream file(*path);
    if (!file) return Error(Code::kNotFound, "COMMISSURE_API_KEY_FILE: cannot read ", *path);
    for (std::string line; std::getline(file, line);) {
      const std::size_t first = line.find_first_not_of(" \t\r"), last = line.find_last_not_of(" \t\r");
      if (first != std::string::npos && line[first] != '#') keys.push_back(line.substr(first, last + 1 - first));
    }
    if (keys.empty()) return Error(Code::kInvalidArgument, "COMMISSURE_API_KEY_FILE: ", *path, " holds no key");
  }
  return keys;
}

}  // namespace

Status apply_environment(const Environment& environment, StageSettings& settings) {
  const auto take = [&](const char* name, std::string& field) {
    if (const auto text = environment(name)) field = *text;
  };
  const auto take_int = [&](const char* name, int& field) -> Status {
    if (const auto text = environment(name)) field = TRY(parse_int(name, *text));
    return {};
  };
  take("STAGE", settings.stage);
  take("COMMISSURE_HOST", settings.host);
  for (char& letter : settings.stage) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  settings.cuts = TRY(cuts_from(environment));
  take("MODEL_DIR", settings.model);
  take("COMMISSURE_MMPROJ", settings.mmproj);
  take("MODEL_NAME", settings.model_name);
  if (const auto text = environment("COMMISSURE_SERVED_MODEL_NAME")) settings.served_names = split_list(*text);
  if (const auto text = environment("COMMISSURE_CORS_ORIGINS")) settings.cors_origins = split_list(*text);
  if (const auto text = environment("COMMISSURE_ALLOWED_HOSTS")) settings.allowed_hosts = split_list(*text);
  take("COMMISSURE_IMAGE_URLS", settings.image_urls);
  if (const auto text = environment("COMMISSURE_ADAPTERS")) settings.adapters.named = split_list(*text);
  take("COMMISSURE_ADAPTER_DIR", settings.adapters.folder);
  if (const auto text = environment("COMMISSURE_ADAPTER_BYTES")) settings.adapters.bytes = TRY(parse_bytes(*text));
  take("COMMISSURE_CHAT_TEMPLATE", settings.chat.chat_template);
  take("COMMISSURE_TOOL_PARSER", settings.chat.tool_parser);
  take("COMMISSURE_REASONING_PARSER", settings.chat.reasoning_parser);
  take("DEVICE", settings.device);
  take("COMMISSURE_ISA", settings.isa);
  take("COMMISSURE_PRECISION", settings.precision);
  take("COMMISSURE_KV_DTYPE", settings.kv_dtype);
  take("QUANT", settings.quant);
  take("COMMISSURE_LEASE", settings.lease);
  take("COMMISSURE_METRICS_NAMES", settings.metrics_names);
  if (const auto base = environment("OTEL_EXPORTER_OTLP_ENDPOINT")) {
    settings.trace_collector = *base + (base->ends_with('/') ? "v1/traces" : "/v1/traces");
  }
  take("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", settings.trace_collector);
  take("GOOGLE_CLOUD_PROJECT", settings.cloud_project);
  if (const auto text = environment("COMMISSURE_LOG_PROMPTS")) settings.log_prompts = *text != "0";
  if (const auto text = environment("COMMISSURE_PAGE")) settings.has_page = *text != "0";
  if (const auto text = environment("COMMISSURE_SANITIZE")) settings.sanitize = *text != "0";
  TRY(take_int("PORT", settings.port));
  TRY(take_int("COMMISSURE_THREADS", settings.threads));
  TRY(take_int("COMMISSURE_MAX_STREAM_AGE", settings.max_stream_age));
  TRY(take_int("COMMISSURE_STEP_DEADLINE", settings.step_deadline));
  if (const auto text = environment("COMMISSURE_LAZY")) settings.lazy = *text != "0";
  if (const auto text = environment("COMMISSURE_PREFIX_CACHE")) settings.prefix_cache = *text != "0";
  if (settings.stage.size() == 1 && settings.stage < "z") {
    const std::string next_letter(1, static_cast<char>(std::toupper(settings.stage[0]) + 1));
    take((next_letter + "_ENDPOINT").c_str(), settings.next);
  }
  take("NEXT_ENDPOINT", settings.next);
  settings.api_keys = TRY(keys_from(environment));
  apply_environment(environment, settings.security);
  return {};
}

std::string StageSettings::address() const {
  if (!host.empty()) return host;
  const bool may_be_reached = security.on_platform || !security.tls_certificate.empty() || allow_plaintext;
  return may_be_reached ? "0.0.0.0" : "127.0.0.1";
}

namespace {

Error invalid(auto&&... parts) { return Error(Code::kInvalidArgument, parts...); }

/// Which stage of what, and where the next one is.
Status check_place(const StageSettings& settings) {
  if (settings.stage.size() != 1 || settings.stage[0] < 'a' || settings.stage[0] > 'z') {
    return invalid("--stage (STAGE) is \"", settings.stage, "\"; it must be one letter, a to z");
  }
  if (settings.index() >= settings.n_stages()) {
    return invalid("stage ", settings.stage, " does not exist: ", settings.cuts.size(), " cuts make ",
                   settings.n_stages(), " stages, the last is ", static_cast<char>('a' + settings.n_stages() - 1),
                   "; set --cuts (CUTS or K1, K2, ...)");
  }
  if (settings.model.empty())
    return invalid("no model: set --model (MODEL_DIR) to a file, a folder, a URL or a known name");
  if (!is_device_name(settings.device)) {
    return invalid("--device (DEVICE) is \"", settings.device, "\"; it must be cpu, cuda or auto");
  }
  if (settings.device == "cuda" && !settings.isa.empty()) {
    return invalid("--isa (COMMISSURE_ISA) \"", settings.isa,
                   "\" names kernels of a CPU; leave it out beside --device cuda");
  }
  if (settings.is_last() && !settings.next.empty()) {
    return invalid("stage ", settings.stage, " is the last one but has a next endpoint; unset --next (NEXT_ENDPOINT)");
  }
  if (!settings.is_last() && settings.next.empty()) {
    return invalid("stage ", settings.stage, " needs its successor's address: set --next (NEXT_ENDPOINT or ",
                   static_cast<char>('B' + settings.index()), "_ENDPOINT)");
  }
  return {};
}

Status check_numbers(const StageSettings& settings) {
  struct Range {
    const char* flag;
    int value, least, most;
  };
  for (const Range& range : {Range{"--port (PORT)", settings.port, 0, 65535},
                             Range{"--threads (COMMISSURE_THREADS)", settings.threads, 0, kMostThreads},
                             Range{"--max-num-batched-tokens", settings.max_step_rows, 1, 4096},
                             Range{"--max-num-seqs", settings.max_sequences, 1, 1024},
                             Range{"--max-num-partial-prefills", settings.max_partial_prefills, 1, 1024},
                             Range{"--step-deadline (COMMISSURE_STEP_DEADLINE)", settings.step_deadline, 1, 86'400},
                             Range{"--queue-limit", settings.queue_limit, 0, 1'000'000}}) {
    if (range.value >= range.least && range.value <= range.most) continue;
    return invalid(range.flag, " is ", range.value, "; it must be ", range.least, " to ", range.most);
  }
  if (!(settings.max_slowdown >= 0) || settings.max_slowdown > 1000) {
    return invalid("--max-slowdown is ", settings.max_slowdown, "; it must be 0 to 1000");
  }
  if (settings.max_model_len < 0)
    return invalid("--max-model-len is ", settings.max_model_len, "; it must be 0, the model's own, or more");
  if (settings.kv_tokens < 0)
    return invalid("--kv-tokens is ", settings.kv_tokens, "; it must be 0, as many as fit, or more");
  if (settings.kv_tokens > 0 && settings.kv_memory > 0) {
    return invalid("--kv-tokens and --kv-memory both set the size of the KV cache; give one of them");
  }
  return {};
}

/// Who may call from where.
Status check_callers(const StageSettings& settings) {
  for (const std::string& origin : settings.cors_origins) {
    const bool is_origin = origin == "*" || (origin.find("://") != std::string::npos && !origin.ends_with('/'));
    if (!is_origin) {
      return invalid("--cors-origins (COMMISSURE_CORS_ORIGINS) has \"", origin,
                     "\"; write an origin like https://app.example, or *");
    }
  }
  for (const std::string& host : settings.allowed_hosts) {
    if (host.find('/') != std::string::npos || host_of(host) != host || host.ends_with('.')) {
      return invalid("--allowed-hosts (COMMISSURE_ALLOWED_HOSTS) has \"", host,
                     "\"; write a name like llm.example, without scheme and port, or *");
    }
  }
  if (const auto policy = FetchPolicy::parse(settings.image_urls); !policy) {
    return invalid("--image-urls (COMMISSURE_IMAGE_URLS) must be off, public or hosts apart by commas: ",
                   policy.error().message());
  }
  return {};
}

Status check_name(std::string_view flag, const std::string& name, const std::vector<std::string>& names) {
  if (std::ranges::find(names, name) != names.end()) return {};
  return invalid(flag, " is \"", name, "\"; it must be one of ", fmt::format("{}", fmt::join(names, ", ")));
}

}  // namespace

Status validate(const StageSettings& settings) {
  TRY(check_place(settings));
  TRY(check_numbers(settings));
  TRY(check_callers(settings));
  if (const auto type = parse_kv_type(settings.kv_dtype); !type) {
    return type.error().within("--kv-dtype (COMMISSURE_KV_DTYPE)");
  }
  if (const auto quants = parse_quants(settings.quant, settings.n_stages()); !quants) {
    return quants.error().within("--quant (QUANT)");
  }
  if (settings.metrics_names != "own" && settings.metrics_names != "vllm" && settings.metrics_names != "both") {
    return invalid("--metrics-names (COMMISSURE_METRICS_NAMES) is \"", settings.metrics_names,
                   "\"; it must be own, vllm or both");
  }
  TRY(check_name("--tool-parser (COMMISSURE_TOOL_PARSER)", settings.chat.tool_parser, tool_parser_names()));
  TRY(check_name("--reasoning-parser (COMMISSURE_REASONING_PARSER)", settings.chat.reasoning_parser,
                 reasoning_parser_names()));
  TRY(validate(settings.adapters));
  return validate(settings.security);
}

Status check_step_bytes(const StageSettings& settings, int row_width) {
  if (settings.n_stages() == 1) return {};
  constexpr std::size_t kOtherBytes = 1024;  // beside header and rows
  constexpr std::size_t kMost = kMaxFrameBytes - kMaxStepHeaderBytes - kOtherBytes;
  const std::size_t row_bytes = static_cast<std::size_t>(row_width) * 2;
  const std::size_t n_bytes = row_bytes * static_cast<std::size_t>(settings.max_step_rows);
  if (n_bytes <= kMost) return {};
  return Error(Code::kInvalidArgument, "--max-num-batched-tokens is ", settings.max_step_rows,
               ", but rows of this model have ", row_width, " values: a step of ", n_bytes,
               " bytes does not fit a frame between two stages, which holds ", kMost, "; at most ", kMost / row_bytes,
               " rows do");
}

std::vector<std::pair<std::string, std::string>> describe(const StageSettings& settings) {
  std::string cuts;
  for (const int cut : settings.cuts) cuts += (cuts.empty() ? "" : ",") + std::to_string(cut);
  const auto text = [](const std::string& value, const char* otherwise) { return value.empty() ? otherwise : value; };
  const auto listed = [](const std::vector<std::string>& values, const char* otherwise) {
    return values.empty() ? std::string(otherwise) : fmt::format("{}", fmt::join(values, ", "));
  };
  std::vector<std::pair<std::string, std::string>> values = {
      {"stage", settings.stage},
      {"cuts", text(cuts, "none")},
      {"model", settings.model},
      {"device", settings.device},
      {"isa", text(settings.isa, "best")},
      {"precision", settings.precision},
      {"kv type", settings.kv_dtype},
      {"threads", settings.threads == 0 ? "all" : std::to_string(settings.threads)},
      {"next", text(settings.next, "none")},
      {"listen", settings.listen.empty() ? host_and_port(settings.address(), settings.port) : settings.listen},
      {"quantisation", settings.quant},
      {"lazy", settings.lazy ? "yes" : "no"},
      {"prefix cache", settings.prefix_cache ? "yes" : "no"},
      {"weights", settings.read_weights ? "read" : "mapped"},
      {"metrics names", settings.metrics_names},
      {"traces to", settings.trace_collector.empty() ? "nowhere" : public_url(settings.trace_collector)},
      {"prompts in logs", settings.log_prompts ? "yes" : "no"},
      {"api keys", std::to_string(settings.api_keys.size())},
      {"served names", listed(settings.served_names, "the model's")},
      {"browsers' origins", listed(settings.cors_origins, "this machine's")},
      {"image URLs", settings.image_urls},
      {"web page", settings.has_page ? "yes" : "no"},
      {"adapters", listed(settings.adapters.named, "none")},
      {"adapters' folder", text(settings.adapters.folder, "none")},
      {"allowed hosts", listed(settings.allowed_hosts, "this machine's")},
  };
  const auto security = describe(settings.security);
  values.insert(values.end(), security.begin(), security.end());
  return values;
}

}  // namespace commissure
