#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "answer/answer_syntax.h"
#include "client/chain_watch.h"
#include "cloud/work.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/outside.h"
#include "commands/quant_choice.h"
#include "commands/up_text.h"
#include "core/ascii.h"
#include "hub/hub.h"
#include "hub/model_pack.h"
#include "hub/open_model.h"
#include "kernels/devices.h"
#include "local/local_chain.h"
#include "page/page_files.h"
#include "plan/split_plan.h"
#include "serve/served_adapters.h"
#include "terminal/progress.h"
#include "terminal/stop_signal.h"
#include "vision/find_vision.h"

namespace commissure {

namespace {

struct UpOptions {
  bool local = false;
  int n_stages = 3;
  std::string cuts;
  std::string model = "smollm2-135m";
  std::string name = "local";
  std::string host = "127.0.0.1";
  int port = 8080;
  bool detach = false;
  bool restarts = true;
  bool lazy = false;
  int threads = 0;
  std::string device;
  std::string isa;
  std::string precision;
  std::string kv_dtype;
  std::string quant;
  int max_model_len = 0;
  std::int64_t kv_tokens = 0;
  std::uint64_t kv_memory = 0;
  int max_sequences = 0;
  int max_step_rows = 0;
  int max_partial_prefills = 0;
  double max_slowdown = -1;
  int queue_limit = -1;
  int step_deadline = 0;
  std::string metrics_names;
  std::string served_names;
  std::string cors_origins;
  std::string allowed_hosts;
  std::string image_urls;
  std::string mmproj, chat_template, tool_parser, reasoning_parser;
  AdapterSettings adapters{.bytes = 0};
  bool sanitize = false, no_page = false;
  bool read_weights = false;
  bool pack = true;
  CloudWorkOptions cloud;
  bool no_prefix_cache = false;
  std::vector<std::string> local_flags;  ///< that were given and that only a chain on this machine has
};

/// What a chain will be, and how much fits into it.
struct PlannedChain {
  LocalChainOptions options;
  ContextPlan context;
  std::uint64_t kv_bytes = 0;  ///< of all stages together
};

Result<LocalModel> find_model(const std::string& name) {
  if (!name.starts_with("hf:")) return resolve_model(name, true);
  if (auto there = resolve_model(name.substr(3), false)) return there;  // pulled before
  return pull_from_hub(hub_request(name.substr(3), "main"));
}

/// Says where less was taken than asked for, and what this machine cannot hold.
Status plan_memory(const UpOptions& options, const Checkpoint& checkpoint, const DecoderSpec& spec,
                   PlannedChain& chain) {
  DecoderSpec typed = spec;
  if (!options.kv_dtype.empty()) typed.kv_type = TRY(parse_kv_type(options.kv_dtype));
  ContextWish wish{options.max_model_len, options.kv_tokens, options.kv_memory};
  if (options.max_sequences > 0) wish.max_sequences = options.max_sequences;
  if (options.max_step_rows > 0) wish.max_step_rows = options.max_step_rows;
  chain.context = TRY(plan_context(typed, chain.options.cuts, wish));
  if (options.max_model_len > chain.context.context) {
    std::fprintf(stderr, "--max-model-len %d is more than the model's context; %d was taken\n", options.max_model_len,
                 chain.context.context);
  }
  std::uint64_t total = 0;
  for (const StageEstimate& stage :
       TRY(estimate_stages(checkpoint, typed, chain.options.cuts, chain.context.kv, wish.max_step_rows))) {
    chain.kv_bytes += stage.kv_bytes + stage.state_bytes;
    total += stage.total_bytes();
  }
  const auto vision = TRY(find_vision(checkpoint, options.mmproj, spec.d_model, ReadMode::kRead));
  if (vision) total += vision->weight_bytes;
  const auto machine =
      static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  if (total <= machine) return {};
  std::fprintf(stderr,
               "weights and KV cache may need %s, this machine has %s: long or many streams will end the chain; lower "
               "--max-model-len, --kv-tokens, --kv-memory or --max-num-seqs\n",
               human_bytes(total).c_str(), human_bytes(machine).c_str());
  return {};
}

/// What the person asked for, as flags of each stage.
std::vector<std::string> stage_flags(const UpOptions& options, const std::string& default_precision) {
  std::vector<std::string> flags;
  const auto flag = [&](const char* name, const std::string& value) {
    flags.emplace_back(name);
    flags.push_back(value);
  };
  if (options.threads > 0) flag("--threads", std::to_string(options.threads));
  if (!options.device.empty()) flag("--device", options.device);
  if (!options.isa.empty()) flag("--isa", options.isa);
  const std::string& precision = options.precision.empty() ? default_precision : options.precision;
  if (!precision.empty()) flag("--precision", precision);
  if (!options.kv_dtype.empty()) flag("--kv-dtype", options.kv_dtype);
  if (!options.quant.empty()) flag("--quant", options.quant);
  if (options.max_model_len > 0) flag("--max-model-len", std::to_string(options.max_model_len));
  if (options.kv_tokens > 0) flag("--kv-tokens", std::to_string(options.kv_tokens));
  if (options.kv_memory > 0) flag("--kv-memory", std::to_string(options.kv_memory));
  if (options.max_step_rows > 0) flag("--max-num-batched-tokens", std::to_string(options.max_step_rows));
  if (options.max_sequences > 0) flag("--max-num-seqs", std::to_string(options.max_sequences));
  if (options.max_partial_prefills > 0) {
    flag("--max-num-partial-prefills", std::to_string(options.max_partial_prefills));
  }
  if (options.max_slowdown >= 0) flag("--max-slowdown", fmt::format("{}", options.max_slowdown));
  if (options.queue_limit >= 0) flag("--queue-limit", std::to_string(options.queue_limit));
  if (options.step_deadline > 0) flag("--step-deadline", std::to_string(options.step_deadline));
  if (!options.metrics_names.empty()) flag("--metrics-names", options.metrics_names);
  if (!options.served_names.empty()) flag("--served-model-name", options.served_names);
  if (!options.cors_origins.empty()) flag("--cors-origins", options.cors_origins);
  if (!options.allowed_hosts.empty()) flag("--allowed-hosts", options.allowed_hosts);
  if (!options.image_urls.empty()) flag("--image-urls", options.image_urls);
  if (!options.mmproj.empty()) flag("--mmproj", options.mmproj);
  if (!options.chat_template.empty()) flag("--chat-template", options.chat_template);
  if (!options.tool_parser.empty()) flag("--tool-parser", options.tool_parser);
  if (!options.reasoning_parser.empty()) flag("--reasoning-parser", options.reasoning_parser);
  const AdapterSettings adapters = with_full_paths(options.adapters);
  for (const std::string& named : adapters.named) flag("--adapter", named);
  if (!adapters.folder.empty()) flag("--adapter-dir", adapters.folder);
  if (options.adapters.bytes > 0) flag("--adapter-bytes", std::to_string(options.adapters.bytes));
  if (options.sanitize) flags.emplace_back("--sanitize");
  if (options.no_page) flags.emplace_back("--no-page");
  if (options.no_prefix_cache) flags.emplace_back("--no-prefix-caching");
  if (options.read_weights) flags.emplace_back("--read-weights");
  return flags;
}

Result<PlannedChain> plan_chain(const UpOptions& options) {
  PlannedChain planned;
  LocalChainOptions& chain = planned.options;
  const LocalModel model = TRY(find_model(options.model));
  if (options.pack && options.isa.empty() && !options.read_weights) pack_small_model(model);
  const auto checkpoint = TRY(open_model(model.location, ReadMode::kMap, Vocabulary::kSkip));
  const DecoderSpec spec = TRY(read_decoder_spec(*checkpoint));
  chain.cuts =
      options.cuts.empty() ? TRY(choose_cuts(*checkpoint, spec, options.n_stages)) : TRY(parse_cuts(options.cuts));
  TRY(quantise_stages(*checkpoint, spec, chain.cuts, options.quant));
  chain.name = options.name;
  chain.model = model.location;
  const std::vector<std::string> names = split_list(options.served_names);
  chain.model_name = names.empty() ? model.name : names.front();
  chain.n_layers = spec.n_layers();
  chain.host = options.host;
  chain.port = options.port;
  chain.restarts = options.restarts;
  TRY(plan_memory(options, *checkpoint, spec, planned));
  AdapterSettings adapters = options.adapters;
  if (adapters.bytes == 0) adapters.bytes = AdapterSettings().bytes;
  TRY(read_adapters(adapters, spec));
  chain.stage_flags = stage_flags(options, model.precision);
  return planned;
}

bool any_alive(const LocalState& state) {
  return std::ranges::any_of(state.stages, [](const StageProcess& stage) { return is_alive(stage.process); });
}

/// Ends the chain if it is still the one that `state` tells of. Errors: as RunLock::take and read_local_state.
Status stop_own(const LocalState& state) {
  auto lock = TRY(RunLock::take(state.chain.name));
  const auto now = TRY(read_local_state(state.chain.name));
  if (now && now->supervisor == state.supervisor) stop_local_chain(lock, *now);
  return {};
}

/// Prints the deaths that the supervisor noted since `before`.
void tell_deaths(const LocalState& before, const LocalState& now) {
  for (std::size_t i = 0; i < now.stages.size() && i < before.stages.size(); ++i) {
    const StageProcess& stage = now.stages[i];
    if (stage.deaths <= before.stages[i].deaths) continue;
    std::fprintf(stderr, "stage %s %s; %s\n", stage.name.c_str(), stage.last_death.c_str(),
                 stage.given_up ? "it keeps dying" : "starting it again");
  }
}

/// Stays until a signal, `commissure down`, or a stage that cannot be kept alive.
Result<int> stay(LocalState state) {
  std::fprintf(stderr, "Ctrl-C stops all stages.\n");
  while (stop_signal() == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const auto now = read_local_state(state.chain.name);
    if (now && !now->has_value()) return 0;  // `commissure down` ended it
    if (!now) continue;
    tell_deaths(state, **now);
    state = **now;
    const auto lost = std::ranges::find(state.stages, true, &StageProcess::given_up);
    if (lost != state.stages.end()) {
      TRY(stop_own(state));
      return Error(Code::kUnavailable, "stage ", lost->name, " keeps dying: ", lost->last_death);
    }
    if (is_alive(state.supervisor) || stop_signal() != 0) continue;
    const auto lock = TRY(RunLock::take(state.chain.name));
    if (const auto there = TRY(read_local_state(state.chain.name)); there && needs_revival(*there))
      state = TRY(revive_local_chain(lock, *there));
  }
  forget_stop_signal();  // or the lock would not be waited for
  TRY(stop_own(state));
  std::fprintf(stderr, "Stopped.\n");
  return 0;
}

/// The chain that runs already, every stage of it, or a new one. `is_new`: it is.
Result<LocalState> start_or_join(const LocalChainOptions& wanted, bool& is_new) {
  auto lock = TRY(RunLock::take(wanted.name));
  auto running = TRY(read_local_state(wanted.name));
  is_new = !running || !any_alive(*running);
  if (!is_new) {
    TRY(check_same(running->chain, wanted));
    return needs_revival(*running) ? revive_local_chain(lock, *running) : Result<LocalState>(*running);
  }
  if (running) {
    end_supervisor(*running);
  }
  auto started = start_local_chain(lock, wanted);
  if (!started) lock.remove_file();
  return started;
}

/// Until the supervisor has started again what just died. Errors: as the chain's own check; kCancelled.
Status await_processes(const LocalState& state) {
  const WatchedProcesses processes = processes_of(state);
  for (;;) {
    TRY(check_stopped());
    TRY(processes.check_alive());
    const auto now = TRY(read_local_state(state.chain.name));
    if (now && std::ranges::all_of(now->stages, [](const StageProcess& one) { return is_alive(one.process); }))
      return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

Result<int> up_local(const UpOptions& options) {
  catch_stop_signals();
  TRY(check_chain_name(options.name));
  if (const Status usable = options.device == "cuda" ? check_gpu() : Status(); !usable) {
    std::fprintf(stderr, "commissure up: %s\n", usable.error().message().c_str());
    return 2;
  }
  auto plan = plan_chain(options);
  if (!plan) return refuse(plan.error(), options.quant, "up");
  const PlannedChain planned = TRY(std::move(plan));
  bool is_new = false;
  LocalState state = TRY(start_or_join(planned.options, is_new));
  const ApiAddress endpoint = local_api(state);
  const auto wake = [&]() -> Status {
    if (!is_new) TRY(await_processes(state));
    if (options.lazy) return {};
    return warm_chain(endpoint, processes_of(state, is_new), std::chrono::seconds(600));
  };
  if (const Status ready = wake(); !ready) {
    if (is_new) {
      forget_stop_signal();
      TRY(stop_own(state));
    }
    return Error(ready.error());
  }
  std::fputs(
      endpoint_text(endpoint, state, planned.context, planned.kv_bytes, !options.no_page && !page_files().empty())
          .c_str(),
      stderr);
  return options.detach ? Result<int>(0) : stay(std::move(state));
}

/// What says the same for a deployment as a flag of a chain on this machine; "" where nothing does.
std::string key_instead(const std::string& flag) {
  static const std::map<std::string, const char*> keys = {
      {"--stages", "stages"},         {"--cuts", "cuts"},
      {"--model", "model"},           {"--name", "name"},
      {"--max-model-len", "context"}, {"--quant", "quant"},
      {"--kv-dtype", "kv_dtype"},     {"--kv-tokens", "streams"},
      {"--kv-memory", "streams"},     {"--device", "device"},
      {"--max-num-seqs", "streams"},  {"--served-model-name", "model_name"}};
  const auto found = keys.find(flag);
  return found == keys.end() ? "" : found->second;
}

/// Flags that only a chain on this machine has. Errors: kInvalidArgument, naming one and what to do instead.
Status refuse_local_flags(const UpOptions& options) {
  if (options.local_flags.empty()) return {};
  const std::string& flag = options.local_flags.front();
  const std::string key = key_instead(flag), &file = options.cloud.choice.file;
  if (!key.empty())
    return Error(Code::kInvalidArgument, flag, " is for a chain on this machine (--local); for the deployment set `",
                 key, "` in ", file);
  return Error(Code::kInvalidArgument, flag, " is for a chain on this machine (--local); what holds for a deployment ",
               "stands in ", file, ", which has no key for this (docs/commissure-yaml.md): leave the flag out");
}

Result<int> up(const UpOptions& options) {
  if (!options.local) {
    if (has_deployment_file(options.cloud.choice)) {
      TRY(refuse_local_flags(options));
      return do_cloud_work(options.cloud, {.image = true, .weights = true, .services = true}, cloud_outside());
    }
    return Error(Code::kInvalidArgument, "say where: commissure up --local starts a chain on this machine, and ",
                 options.cloud.choice.file, ", which is not here, describes one on Google Cloud (docs/deploy.md)");
  }
  return up_local(options);
}

void add_capacity_flags(CLI::App& app, UpOptions& options) {
  app.add_option("--max-model-len", options.max_model_len,
                 "longest sequence; default: the model's context, at most 8192")
      ->check(CLI::PositiveNumber);
  const auto kv_tokens = app.add_option("--kv-tokens", options.kv_tokens,
                                        "positions all sequences may hold together; default: four contexts")
                             ->check(CLI::PositiveNumber);
  app.add_option("--kv-memory", options.kv_memory, "instead: bytes of KV cache a stage may have, e.g. 2GiB")
      ->transform(CLI::AsSizeValue(true))
      ->excludes(kv_tokens);
  app.add_option("--max-num-seqs", options.max_sequences, "sequences running at once; default: 64")
      ->check(CLI::Range(1, 1024));
  app.add_option("--max-num-batched-tokens", options.max_step_rows,
                 "rows of one step, prompts and decodes together; default: 512")
      ->check(CLI::Range(1, 4096));
  app.add_option("--max-num-partial-prefills", options.max_partial_prefills,
                 "prompts that may be partly computed at a time: above 1, a long one leaves a quarter of a step's "
                 "prompt rows to shorter ones behind it; 1: first come, first served; default: 4")
      ->check(CLI::Range(1, 1024));
  app.add_option("--max-slowdown", options.max_slowdown,
                 "times as long as alone that running streams may wait for a token while a prompt comes in; 0: no "
                 "bound but the rows of a step; default: 2.5")
      ->check(CLI::Range(0.0, 1000.0));
  app.add_option("--queue-limit", options.queue_limit, "requests waiting at once; more get a 429; default: 256")
      ->check(CLI::Range(0, 1'000'000));
  app.add_option("--step-deadline", options.step_deadline,
                 "seconds without an answer or a sign of work after which a stage counts as dead; default: 60")
      ->check(CLI::Range(1, 86'400));
}

/// Names in what it serves, and whom it serves.
void add_name_flags(CLI::App& app, UpOptions& options) {
  app.add_option("--metrics-names", options.metrics_names,
                 "names in /metrics: own (commissure_...), vllm (vllm:... where vLLM has it) or both")
      ->check(CLI::IsMember({"own", "vllm", "both"}));
  app.add_option("--served-model-name", options.served_names,
                 "names that requests may use, apart by commas; the first is shown");
  app.add_option("--cors-origins", options.cors_origins,
                 "origins whose pages may call, apart by commas, or *; default: those of this machine");
  app.add_option("--allowed-hosts", options.allowed_hosts,
                 "local: names of the endpoint that requests may be for, apart by commas, or *, beside those of this "
                 "machine; without an API key others are refused");
  app.add_option("--image-urls", options.image_urls,
                 "local: whose URLs of images in requests are fetched: off, public or hosts apart by commas; default: "
                 "public");
  app.add_flag("--no-page", options.no_page, "local: browsers get no web page");
  app.add_flag("--sanitize", options.sanitize,
               "local: control tokens spelled in requests are plain text, unless a request says otherwise");
  app.add_option("--mmproj", options.mmproj,
                 "image encoder of a GGUF model: an mmproj file; default: one that lies beside the model, if any");
  app.add_option("--chat-template", options.chat_template,
                 "local: a file, or the name of one of the model's own templates, in place of its default");
  app.add_option("--tool-parser", options.tool_parser,
                 "local: how the model spells tool calls; default: as its chat template says")
      ->check(CLI::IsMember(tool_parser_names()));
  app.add_option("--reasoning-parser", options.reasoning_parser,
                 "local: how the model marks its thoughts; default: as its chat template says")
      ->check(CLI::IsMember(reasoning_parser_names()));
}

void add_adapter_flags(CLI::App& app, UpOptions& options) {
  app.add_option("--adapter", options.adapters.named,
                 "local: NAME=PATH: a PEFT folder or a GGUF adapter that requests may name as their model; may be "
                 "repeated")
      ->allow_extra_args(false);
  app.add_option("--adapter-dir", options.adapters.folder,
                 "local: a folder of adapters: each is loaded when it is first asked for");
  app.add_option("--adapter-bytes", options.adapters.bytes,
                 "local: bytes of adapters that a stage keeps, e.g. 2GiB; default: 1GiB")
      ->transform(CLI::AsSizeValue(true));
}

}  // namespace

CommandRun add_up(CLI::App& app) {
  auto options = std::make_shared<UpOptions>();
  app.add_flag("--local", options->local, "all stages on this machine, joined over sockets");
  app.add_option("--stages", options->n_stages, "how many stages")->check(CLI::Range(1, kMaxStages));
  app.add_option("--cuts", options->cuts, "layer boundaries, e.g. 10,20; default: equal bytes");
  app.add_option("--model", options->model,
                 "known name, file, folder, URL, or hf:OWNER/REPO[:QUANTISATION], which is pulled");
  app.add_option("--name", options->name, "name of the chain on this machine; several run side by side");
  app.add_option("--host", options->host, "address of the endpoint; 0.0.0.0: all of this machine");
  app.add_option("--port", options->port, "port of the endpoint")->check(CLI::Range(1, 65535));
  app.add_flag("--detach,-d", options->detach, "return when the chain is ready");
  app.add_flag("!--no-restart", options->restarts, "leave stages that die dead until the next `up`");
  app.add_flag("--lazy", options->lazy, "do not load weights before the first use or `commissure warm`");
  app.add_option("--threads", options->threads, "threads per stage; default: one for each core")
      ->check(CLI::NonNegativeNumber);
  app.add_option(
         "--device", options->device,
         "local: cpu, cuda (the first GPU; exit status 2 where there is none), or auto: a GPU where one can be used; "
         "default: cpu")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
  app.add_option("--isa", options->isa, "kernels: reference, generic, avx2, avx512, amx; default: the best but amx");
  app.add_option("--precision", options->precision,
                 "exact: 16-bit activations, a quarter of the error; default: fast, but exact for the default model")
      ->check(CLI::IsMember({"fast", "exact"}));
  app.add_option("--kv-dtype,--kv-cache-dtype", options->kv_dtype,
                 "keys and values as bf16, or int8: half the memory; default: auto, which is bf16")
      ->check(CLI::IsMember({"auto", "bf16", "int8"}));
  app.add_option("--quant", options->quant,
                 "local: quantise float weights while they are loaded: none, int8 or nf4, with +head the head too; one "
                 "for all stages or one for each, e.g. int8,nf4,none; default: none")
      ->check(quant_names_check());
  add_capacity_flags(app, *options);
  add_name_flags(app, *options);
  add_adapter_flags(app, *options);
  app.add_flag("--no-prefix-caching", options->no_prefix_cache, "compute every prompt from its first token");
  app.add_flag("!--no-pack", options->pack, "do not pack a small model of the cache for this CPU's kernels");
  app.add_flag("--read-weights", options->read_weights, "read weights into memory instead of mapping the file");
  const std::vector<CLI::Option*> of_local = app.get_options();
  add_work_flags(app, options->cloud);
  app.add_flag("--adopt", options->cloud.adopt,
               "on Google Cloud: take what has the deployment's names and was not made by it");
  app.add_flag("--prune", options->cloud.prune, "on Google Cloud: remove what the file no longer asks for");
  app.add_flag("--local-image", options->cloud.local_image,
               "on Google Cloud: build the image here (docker, podman or buildah), not on Cloud Build");
  app.add_flag("!--no-wake", options->cloud.wake, "on Google Cloud: do not load the stages, ask no first question");
  return [options, of_local] {
    for (const CLI::Option* option : of_local) {
      const std::string name = option->get_name();
      if (option->count() > 0 && name != "--local" && name != "--help") options->local_flags.push_back(name);
    }
    return up(*options);
  };
}

}  // namespace commissure
