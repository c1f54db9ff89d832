#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/index.h"
#include "core/result.h"
#include "serve/chat_choices.h"
#include "serve/served_adapters.h"
#include "serve/stage_security.h"

namespace commissure {

/// What one stage process is told when it starts. Flags win over the environment.
///
/// Environment: STAGE (a..z), COMMISSURE_HOST, K1 ... K25 or CUTS (layer boundaries), MODEL_DIR, MODEL_NAME, DEVICE,
/// QUANT, NEXT_ENDPOINT or <next letter>_ENDPOINT (B_ENDPOINT on stage a), PORT, COMMISSURE_THREADS, COMMISSURE_ISA,
/// COMMISSURE_PRECISION, COMMISSURE_KV_DTYPE, COMMISSURE_API_KEY, COMMISSURE_API_KEY_FILE, COMMISSURE_LEASE,
/// COMMISSURE_LAZY, COMMISSURE_SERVED_MODEL_NAME, COMMISSURE_CORS_ORIGINS, COMMISSURE_ALLOWED_HOSTS,
/// COMMISSURE_IMAGE_URLS, COMMISSURE_ADAPTERS, COMMISSURE_ADAPTER_DIR, COMMISSURE_ADAPTER_BYTES,
/// COMMISSURE_MAX_STREAM_AGE, COMMISSURE_STEP_DEADLINE, COMMISSURE_METRICS_NAMES, COMMISSURE_LOG_PROMPTS,
/// COMMISSURE_PREFIX_CACHE, COMMISSURE_MMPROJ, COMMISSURE_CHAT_TEMPLATE, COMMISSURE_TOOL_PARSER,
/// COMMISSURE_REASONING_PARSER, COMMISSURE_SANITIZE, COMMISSURE_PAGE, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
/// OTEL_EXPORTER_OTLP_ENDPOINT, GOOGLE_CLOUD_PROJECT; and the variables of SecuritySettings.
struct StageSettings {
  std::string stage = "a";
  std::vector<int> cuts;
  std::string model;       ///< file, folder, URL or known name
  std::string mmproj;      ///< image encoder: file or URL; empty: as find_vision finds one
  std::string model_name;  ///< the name that clients ask for; empty: made from the model
  /// Names that requests may use: the first is the one served, over model_name; the others are aliases.
  std::vector<std::string> served_names;
  std::vector<std::string> cors_origins;   ///< whose pages may call, beside those of this machine; "*": any
  std::vector<std::string> allowed_hosts;  ///< names of the endpoint beside this machine's; "*": any
  std::string image_urls = "public";       ///< that are fetched: off, public or hosts (FetchPolicy)
  ChatChoices chat;
  AdapterSettings adapters;    ///< of stage A
  std::string device = "cpu";  ///< cpu, cuda or auto
  std::string next;            ///< endpoint of the next stage; empty on the last
  std::string host;            ///< as address() says
  int port = 8080;
  std::string listen;  ///< gRPC endpoint instead of host:port, e.g. unix:/path
  int threads = 0;
  std::string isa;
  std::string precision = "fast";
  std::string kv_dtype = "auto";  ///< auto (bf16), bf16 or int8
  std::string quant = "none";     ///< none, int8 or nf4, with +head the head too; one for all stages or one for each
  std::string lease;              ///< core lease file shared by the stages of one machine
  int max_stream_age = -1;  ///< seconds until a stream to the next stage is moved; 0: never, -1: 55 min on Cloud Run
  int step_deadline = 60;   ///< seconds without a sign of work after which the stages behind count as dead
  bool lazy = false;
  bool read_weights = false;     ///< read into memory instead of mapping
  bool allow_plaintext = false;  ///< gRPC without TLS off loopback
  int max_model_len = 0;         ///< 0: the model's context, at most 8192
  std::int64_t kv_tokens = 0;    ///< positions all sequences may hold together; 0: as many as kv_memory holds
  std::uint64_t kv_memory = 0;   ///< bytes of KV cache a stage may have; 0: room for four full contexts
  int max_sequences = 64;
  int max_step_rows = 512;
  int max_partial_prefills = 4;  ///< prompts that share a step's rows (EngineOptions)
  double max_slowdown = 2.5;     ///< of running streams while prompts come in (EngineOptions)
  int queue_limit = 256;
  std::string metrics_names = "own";  ///< own, vllm or both
  std::string trace_collector;        ///< where spans are POSTed to, OTLP/HTTP; empty: nowhere
  std::string cloud_project;          ///< for the trace names in the log
  bool log_prompts = false;
  bool has_page = true;   ///< browsers get the web page, where the program has it
  bool sanitize = false;  ///< control tokens spelled in requests are plain text, unless a request says otherwise
  bool prefix_cache = true;
  std::vector<std::string> api_keys;
  SecuritySettings security;

  /// Where it listens: as `host` says; else on all interfaces where the platform stands before it, there is TLS or
  /// plaintext is allowed, and else on this machine alone.
  std::string address() const;
  int index() const { return stage[0] - 'a'; }
  int n_stages() const { return count_of(cuts) + 1; }
  bool is_first() const { return index() == 0; }
  bool is_last() const { return index() == n_stages() - 1; }
};

/// Fills what the environment says into `settings`. Errors: kInvalidArgument naming the variable and what it must be.
Status apply_environment(const Environment& environment, StageSettings& settings);

/// Checks all values; to be called once flags and environment are in. Errors: kInvalidArgument naming flag and
/// variable.
Status validate(const StageSettings& settings);

/// Whether the rows of the largest step, as bf16, fit a frame to the next stage. Errors: kInvalidArgument naming both
/// numbers and what would fit.
Status check_step_bytes(const StageSettings& settings, int row_width);

/// One line per value for the log at start; secrets appear as their count.
std::vector<std::pair<std::string, std::string>> describe(const StageSettings& settings);

}  // namespace commissure
