#include <fmt/format.h>

#include <memory>

#include "answer/answer_syntax.h"
#include "commands/command.h"
#include "commands/quant_choice.h"
#include "core/ascii.h"
#include "core/environment.h"
#include "core/log.h"
#include "kernels/devices.h"
#include "serve/await_signal.h"
#include "serve/stage_runner.h"
#include "serve/stage_settings.h"
#include "step/stage_plan.h"

namespace commissure {

namespace {

/// Flags as given; empty optionals leave what the environment says.
struct StageFlags {
  std::optional<std::string> stage, cuts, model, model_name, device, next, host, listen, isa, precision, kv_dtype,
      lease, quant;
  std::optional<std::string> mmproj, metrics_names, served_names, cors_origins, allowed_hosts, image_urls,
      chat_template, tool_parser, reasoning_parser;
  std::optional<int> port, threads, max_model_len, max_sequences, max_step_rows, max_partial_prefills, queue_limit,
      max_stream_age, step_deadline;
  std::optional<double> max_slowdown;
  std::optional<std::int64_t> kv_tokens;
  std::optional<std::uint64_t> kv_memory;
  std::vector<std::string> adapters;
  std::optional<std::string> adapter_folder;
  std::optional<std::uint64_t> adapter_bytes;
  std::shared_ptr<SecuritySettings> security = std::make_shared<SecuritySettings>();  // shared with the flags' parsers
  bool lazy = false, read_weights = false, allow_plaintext = false, json_logs = false, log_prompts = false,
       sanitize = false, no_page = false;
  bool no_prefix_cache = false;
};

template <typename T>
void take(const std::optional<T>& flag, T& setting) {
  if (flag) setting = *flag;
}

/// `settings` is as far as it got where something is wrong with it.
Status settle(const StageFlags& flags, StageSettings& settings) {
  TRY(apply_environment(process_environment, settings));
  settings.security = *flags.security;
  if (flags.cuts) settings.cuts = TRY(parse_cuts(*flags.cuts));
  take(flags.stage, settings.stage);
  take(flags.model, settings.model);
  take(flags.mmproj, settings.mmproj);
  take(flags.model_name, settings.model_name);
  if (flags.served_names) settings.served_names = split_list(*flags.served_names);
  if (flags.cors_origins) settings.cors_origins = split_list(*flags.cors_origins);
  if (flags.allowed_hosts) settings.allowed_hosts = split_list(*flags.allowed_hosts);
  take(flags.image_urls, settings.image_urls);
  if (!flags.adapters.empty()) settings.adapters.named = flags.adapters;
  take(flags.adapter_folder, settings.adapters.folder);
  take(flags.adapter_bytes, settings.adapters.bytes);
  take(flags.chat_template, settings.chat.chat_template);
  take(flags.tool_parser, settings.chat.tool_parser);
  take(flags.reasoning_parser, settings.chat.reasoning_parser);
  take(flags.device, settings.device);
  take(flags.next, settings.next);
  take(flags.host, settings.host);
  take(flags.listen, settings.listen);
  take(flags.isa, settings.isa);
  take(flags.precision, settings.precision);
  take(flags.kv_dtype, settings.kv_dtype);
  take(flags.quant, settings.quant);
  take(flags.lease, settings.lease);
  take(flags.metrics_names, settings.metrics_names);
  take(flags.port, settings.port);
  take(flags.threads, settings.threads);
  take(flags.max_model_len, settings.max_model_len);
  take(flags.max_sequences, settings.max_sequences);
  take(flags.max_step_rows, settings.max_step_rows);
  take(flags.max_partial_prefills, settings.max_partial_prefills);
  take(flags.max_slowdown, settings.max_slowdown);
  take(flags.queue_limit, settings.queue_limit);
  take(flags.max_stream_age, settings.max_stream_age);
  take(flags.step_deadline, settings.step_deadline);
  take(flags.kv_tokens, settings.kv_tokens);
  take(flags.kv_memory, settings.kv_memory);
  settings.log_prompts |= flags.log_prompts;
  settings.sanitize |= flags.sanitize;
  settings.has_page &= !flags.no_page;
  settings.lazy |= flags.lazy;
  settings.prefix_cache &= !flags.no_prefix_cache;
  settings.read_weights |= flags.read_weights;
  settings.allow_plaintext |= flags.allow_plaintext;
  return validate(settings);
}

Result<int> run(const StageFlags& flags) {
  const bool on_platform = process_environment("K_SERVICE").has_value();  // Cloud Run collects JSON lines
  configure_log(flags.json_logs || on_platform ? LogFormat::kJson : LogFormat::kText, Severity::kInfo, "stage");
  StageSettings settings;
  if (const Status ready = settle(flags, settings); !ready) {
    const bool is_about_quant = !parse_quants(settings.quant, settings.n_stages());
    return is_about_quant ? refuse(ready.error(), settings.quant, "stage") : Result<int>(Error(ready.error()));
  }
  configure_log(flags.json_logs || on_platform ? LogFormat::kJson : LogFormat::kText, Severity::kInfo,
                "stage " + settings.stage);
  LogFields fields;
  for (const auto& [name, value] : describe(settings)) fields.emplace_back(name, value);
  log_info("starting", fields);
  block_end_signals();  // the threads of the device must not take them
  auto device = make_device(settings.device,
                            {.n_threads = settings.threads, .pin = !settings.lease.empty(), .isa = settings.isa});
  const Status ended = device ? run_stage(settings, std::move(*device)) : Status(device.error());
  if (ended) return 0;
  log_error(ended.error().message());  // where `status` finds it
  if (device || settings.device != "cuda") return refuse(ended.error(), settings.quant, "stage");
  std::fprintf(stderr, "commissure stage: %s\n", ended.error().message().c_str());
  return 2;
}

/// They write into `settings`, over what the environment says.
void add_security_flags(CLI::App& app, const std::shared_ptr<SecuritySettings>& settings) {
  const auto list = [&app, settings](const char* flag, std::vector<std::string> SecuritySettings::* field,
                                     const char* help) {
    app.add_option_function<std::string>(
        flag, [settings, field](const std::string& text) { (*settings).*field = split_list(text); }, help);
  };
  app.add_option("--identity", settings->identity,
                 "auto, none, or metadata: each call to the next stage carries a token of the metadata server "
                 "(COMMISSURE_IDENTITY)");
  app.add_option("--tls-cert", settings->tls_certificate, "PEM certificate chain of this stage (COMMISSURE_TLS_CERT)");
  app.add_option("--tls-key", settings->tls_key, "PEM key of --tls-cert (COMMISSURE_TLS_KEY)");
  list("--require-identity", &SecuritySettings::audiences,
       "this stage's base URLs: only calls with a token for one of them are taken (COMMISSURE_REQUIRE_IDENTITY)");
  list("--allowed-callers", &SecuritySettings::callers,
       "e-mail addresses of the service accounts that may call (COMMISSURE_ALLOWED_CALLERS)");
  app.add_option("--identity-keys", settings->identity_keys,
                 "file or URL of the key set that checks tokens; needed outside Cloud Run (COMMISSURE_IDENTITY_KEYS)");
}

/// What is served, under which names and to whom.
void add_model_flags(CLI::App& app, StageFlags& flags) {
  app.add_option("--stage", flags.stage, "this stage's letter (STAGE)");
  app.add_option("--cuts", flags.cuts, "layer boundaries of the whole chain, e.g. 10,20 (CUTS, or K1, K2, ...)");
  app.add_option("--model", flags.model, "file, folder, URL or known name (MODEL_DIR)");
  app.add_option("--mmproj", flags.mmproj,
                 "image encoder of a GGUF model: an mmproj file; default: one that lies beside the model, if any "
                 "(COMMISSURE_MMPROJ)");
  app.add_option("--model-name", flags.model_name, "name served by the API (MODEL_NAME)");
  app.add_option("--served-model-name", flags.served_names,
                 "names that requests may use, apart by commas; the first is shown, over --model-name "
                 "(COMMISSURE_SERVED_MODEL_NAME)");
  app.add_option("--cors-origins", flags.cors_origins,
                 "origins whose pages may call, apart by commas, or *; default: those of this machine and of the "
                 "endpoint itself (COMMISSURE_CORS_ORIGINS)");
  app.add_option("--allowed-hosts", flags.allowed_hosts,
                 "names of the endpoint that requests may be for, apart by commas, or *, where it listens on this "
                 "machine alone and has no key; default: those of this machine (COMMISSURE_ALLOWED_HOSTS)");
  app.add_option("--image-urls", flags.image_urls,
                 "whose URLs of images in requests are fetched: off, public or hosts apart by commas, with a leading "
                 "dot those under it; default: public (COMMISSURE_IMAGE_URLS)");
  app.add_option("--chat-template", flags.chat_template,
                 "a file, or the name of one of the model's own templates (COMMISSURE_CHAT_TEMPLATE)");
  app.add_option("--tool-parser", flags.tool_parser,
                 fmt::format("how the model spells tool calls: {}; auto: as its chat template says "
                             "(COMMISSURE_TOOL_PARSER)",
                             fmt::join(tool_parser_names(), ", ")));
  app.add_option("--reasoning-parser", flags.reasoning_parser,
                 fmt::format("how the model marks its thoughts: {}; auto: as its chat template says "
                             "(COMMISSURE_REASONING_PARSER)",
                             fmt::join(reasoning_parser_names(), ", ")));
}

/// LoRA adapters of stage a.
void add_adapter_flags(CLI::App& app, StageFlags& flags) {
  app.add_option("--adapter", flags.adapters,
                 "NAME=PATH: a PEFT folder or a GGUF adapter that requests may name as their model; may be repeated; "
                 "all stages read the same path (COMMISSURE_ADAPTERS, apart by commas)")
      ->allow_extra_args(false);
  app.add_option("--adapter-dir", flags.adapter_folder,
                 "a folder of adapters: each is loaded when it is first asked for, and /v1/load_lora_adapter takes "
                 "those below it (COMMISSURE_ADAPTER_DIR)");
  app.add_option("--adapter-bytes", flags.adapter_bytes,
                 "bytes of adapters that a stage keeps, e.g. 2GiB; default: 1GiB (COMMISSURE_ADAPTER_BYTES)")
      ->transform(CLI::AsSizeValue(true));
}

/// Where it runs and listens, and with which kernels.
void add_machine_flags(CLI::App& app, StageFlags& flags) {
  app.add_option(
      "--device", flags.device,
      "cpu, cuda (the first GPU; exit status 2 where it cannot be used), or auto: a GPU where one can be used; "
      "default: cpu (DEVICE)");
  app.add_option("--next", flags.next, "endpoint of the next stage (NEXT_ENDPOINT, B_ENDPOINT, ...)");
  app.add_option("--host", flags.host,
                 "address to listen on (COMMISSURE_HOST); default: 127.0.0.1, and 0.0.0.0 on Cloud Run, with "
                 "--tls-cert or with --allow-plaintext");
  app.add_option("--port", flags.port, "port of the API on stage a, of gRPC elsewhere (PORT)");
  app.add_option("--listen", flags.listen, "gRPC endpoint instead of host and port, e.g. unix:/path");
  app.add_option("--threads", flags.threads,
                 "threads; default: one for each core, which a probe counts (COMMISSURE_THREADS)");
  app.add_option("--isa", flags.isa,
                 "kernels: reference, generic, avx2, avx512, amx; default: the best but amx (COMMISSURE_ISA)");
  app.add_option("--precision", flags.precision,
                 "fast, or exact: 16-bit activations; the same on all stages (COMMISSURE_PRECISION)");
  app.add_option("--kv-dtype,--kv-cache-dtype", flags.kv_dtype,
                 "keys and values as bf16, or int8: half the memory; the same on all stages; default: auto, which is "
                 "bf16 (COMMISSURE_KV_DTYPE)");
  app.add_option("--quant", flags.quant,
                 "quantise float weights while they are loaded: none, int8 or nf4, with +head the head too; one for "
                 "all stages or one for each, e.g. int8,nf4,none; default: none (QUANT)")
      ->check(quant_names_check());
  app.add_option("--lease", flags.lease, "core lease file shared by the stages of one machine (COMMISSURE_LEASE)");
}

void add_capacity_flags(CLI::App& app, StageFlags& flags) {
  app.add_option("--max-model-len", flags.max_model_len,
                 "longest sequence; default: the model's context, at most 8192");
  app.add_option("--kv-tokens", flags.kv_tokens,
                 "positions all sequences may hold together; the same on all stages; default: four contexts");
  app.add_option("--kv-memory", flags.kv_memory,
                 "instead: bytes of KV cache a stage may have, e.g. 2GiB; the same on all stages")
      ->transform(CLI::AsSizeValue(true));
  app.add_option("--max-num-seqs", flags.max_sequences, "sequences running at once, 1 to 1024; default: 64");
  app.add_option("--max-num-batched-tokens", flags.max_step_rows,
                 "rows of one step, prompts and decodes together, 1 to 4096; the same on all stages; default: 512");
  app.add_option("--max-num-partial-prefills", flags.max_partial_prefills,
                 "prompts that may be partly computed at a time, 1 to 1024: above 1, a long one leaves a quarter of a "
                 "step's prompt rows to shorter ones behind it; 1: first come, first served; default: 4");
  app.add_option("--max-slowdown", flags.max_slowdown,
                 "times as long as alone that running streams may wait for a token while a prompt comes in; 0: no "
                 "bound but the rows of a step; default: 2.5");
  app.add_option("--queue-limit", flags.queue_limit, "requests waiting at once; more get a 429; default: 256");
}

}  // namespace

CommandRun add_stage(CLI::App& app) {
  auto flags = std::make_shared<StageFlags>();
  apply_environment(process_environment, *flags->security);
  add_model_flags(app, *flags);
  add_adapter_flags(app, *flags);
  add_machine_flags(app, *flags);
  add_capacity_flags(app, *flags);
  app.add_option("--metrics-names", flags->metrics_names,
                 "own (commissure_...), vllm (vllm:... where vLLM has it) or both (COMMISSURE_METRICS_NAMES)");
  app.add_flag("--no-prefix-caching", flags->no_prefix_cache,
               "compute every prompt from its first token (COMMISSURE_PREFIX_CACHE=0)");
  app.add_option("--max-stream-age", flags->max_stream_age,
                 "seconds after which the stream to the next stage is replaced, between two steps; 0: never; default: "
                 "3300 on Cloud Run, which ends streams after an hour, else 0 (COMMISSURE_MAX_STREAM_AGE)");
  app.add_option("--step-deadline", flags->step_deadline,
                 "seconds without an answer or a sign of work after which the stages behind count as dead; from a "
                 "quarter of it on where steps were fast of late; default: 60 (COMMISSURE_STEP_DEADLINE)");
  app.add_flag("--lazy", flags->lazy, "load the weights at the first use or on `warm` (COMMISSURE_LAZY)");
  app.add_flag("--read-weights", flags->read_weights, "read weights into memory instead of mapping the file");
  app.add_flag("--allow-plaintext", flags->allow_plaintext, "gRPC without TLS to and from other machines");
  app.add_flag("--no-page", flags->no_page, "browsers get no web page (COMMISSURE_PAGE=0)");
  app.add_flag("--sanitize", flags->sanitize,
               "control tokens spelled in requests are plain text, unless a request says \"sanitize\": false "
               "(COMMISSURE_SANITIZE)");
  app.add_flag("--log-prompts", flags->log_prompts,
               "the log line of a request has its body, prompt included (COMMISSURE_LOG_PROMPTS)");
  app.add_flag("--json-logs", flags->json_logs, "one JSON object a line");
  add_security_flags(app, flags->security);
  return [flags] { return run(*flags); };
}

}  // namespace commissure
