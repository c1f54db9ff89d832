#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

#include "client/chain_watch.h"
#include "client/stage_table.h"
#include "cloud/work.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/outside.h"
#include "hub/model_pack.h"
#include "local/local_chain.h"
#include "plan/split_plan.h"
#include "terminal/progress.h"
#include "terminal/stop_signal.h"

namespace commissure {

namespace {

struct UpOptions {
  bool local = false;
  int n_stages = 3;
  std::string cuts;
  std::string model = "smollm2-135m";
  int port = 8080;
  bool detach = false;
  bool lazy = false;
  int threads = 0;
  std::string isa;
  std::string precision;
  std::string kv_dtype;
  int max_model_len = 0;
  std::int64_t kv_tokens = 0;
  std::uint64_t kv_memory = 0;
  int max_sequences = 0;
  int max_step_rows = 0;
  double max_slowdown = -1;
  int queue_limit = -1;
  int step_deadline = 0;
  std::string metrics_names;
  std::string chat_template;
  bool read_weights = false;
  bool pack = true;
  CloudWorkOptions cloud;
  bool no_prefix_cache = false;
};

Result<LocalChainOptions> plan_chain(const UpOptions& options) {
  LocalChainOptions chain;
  const LocalModel model = TRY(resolve_model(options.model, true));
  if (options.pack && options.isa.empty() && !options.read_weights) pack_small_model(model);
  const auto checkpoint = TRY(Checkpoint::open(model.location, ReadMode::kMap, Vocabulary::kSkip));
  const DecoderSpec spec = TRY(read_decoder_spec(*checkpoint));
  chain.cuts =
      options.cuts.empty() ? TRY(choose_cuts(*checkpoint, spec, options.n_stages)) : TRY(parse_cuts(options.cuts));
  TRY(plan_stages(spec.n_layers(), chain.cuts));
  chain.model = model.location;
  chain.model_name = model.name;
  chain.port = options.port;
  const auto flag = [&](const char* name, const std::string& value) {
    chain.stage_flags.emplace_back(name);
    chain.stage_flags.push_back(value);
  };
  if (options.threads > 0) flag("--threads", std::to_string(options.threads));
  if (!options.isa.empty()) flag("--isa", options.isa);
  const std::string& precision = options.precision.empty() ? model.precision : options.precision;
  if (!precision.empty()) flag("--precision", precision);
  if (!options.kv_dtype.empty()) flag("--kv-dtype", options.kv_dtype);
  if (options.max_model_len > 0) flag("--max-model-len", std::to_string(options.max_model_len));
  if (options.kv_tokens > 0) flag("--kv-tokens", std::to_string(options.kv_tokens));
  if (options.kv_memory > 0) flag("--kv-memory", std::to_string(options.kv_memory));
  if (options.max_step_rows > 0) flag("--max-num-batched-tokens", std::to_string(options.max_step_rows));
  if (options.max_sequences > 0) flag("--max-num-seqs", std::to_string(options.max_sequences));
  if (options.max_slowdown >= 0) flag("--max-slowdown", fmt::format("{}", options.max_slowdown));
  if (options.queue_limit >= 0) flag("--queue-limit", std::to_string(options.queue_limit));
  if (options.step_deadline > 0) flag("--step-deadline", std::to_string(options.step_deadline));
  if (!options.metrics_names.empty()) flag("--metrics-names", options.metrics_names);
  if (!options.chat_template.empty()) flag("--chat-template", options.chat_template);
  if (options.no_prefix_cache) chain.stage_flags.emplace_back("--no-prefix-caching");
  if (options.read_weights) chain.stage_flags.emplace_back("--read-weights");
  return chain;
}

Status check_same(const LocalState& running, const LocalChainOptions& wanted) {
  if (running.model == wanted.model && running.cuts == wanted.cuts && running.port == wanted.port) return {};
  const auto text = [](const std::string& model, const std::vector<int>& cuts, int port) {
    std::string result = model + " in " + std::to_string(cuts.size() + 1) + " stages";
    for (std::size_t i = 0; i < cuts.size(); ++i) result += (i == 0 ? " cut at " : ",") + std::to_string(cuts[i]);
    return result + " on port " + std::to_string(port);
  };
  return Error(Code::kAlreadyExists, "another chain is running: ", text(running.model, running.cuts, running.port),
               "; asked for: ", text(wanted.model, wanted.cuts, wanted.port), "; stop it first with: commissure down");
}

bool any_alive(const LocalState& state) {
  for (const StageProcess& stage : state.stages) {
    if (is_alive(stage)) return true;
  }
  return false;
}

void print_endpoint(const LocalState& state) {
  std::fprintf(stderr,
               "\nServing %s at %s/v1\nTry it:\n"
               "  curl %s/v1/chat/completions -H 'Content-Type: application/json' \\\n"
               "    -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'\n"
               "Stop it:  commissure down\n\n",
               state.model_name.c_str(), state.url().c_str(), state.url().c_str());
}

/// A stage that dies is started again and the running requests go on; one that keeps dying ends the chain.
class Reviver {
 public:
  explicit Reviver(const LocalChainOptions& options) : options_(options) {}

  /// Errors: kUnavailable, the stage ended too often lately.
  Status revive(LocalState& state, const StageProcess& dead) {
    const auto now = std::chrono::steady_clock::now();
    while (!deaths_.empty() && now - deaths_.front() > kMemory) deaths_.pop_front();
    deaths_.push_back(now);
    const std::string line = last_log_line(dead.log);
    if (deaths_.size() > kMaxDeaths) {
      return Error(Code::kUnavailable, "stage ", dead.name, " ended, the ", deaths_.size(),
                   "th death within a minute: ", line);
    }
    std::fprintf(stderr, "stage %s ended (%s); starting it again\n", dead.name.c_str(), line.c_str());
    return revive_local_chain(state, options_);
  }

 private:
  static constexpr std::size_t kMaxDeaths = 5;
  static constexpr std::chrono::minutes kMemory{1};

  const LocalChainOptions& options_;
  std::deque<std::chrono::steady_clock::time_point> deaths_;  // lately, oldest first
};

/// Stays until a signal, `commissure down`, or a stage that cannot be kept alive.
Result<int> stay(LocalState state, const LocalChainOptions& options) {
  catch_stop_signals();
  std::fprintf(stderr, "Ctrl-C stops all stages.\n");
  Reviver reviver(options);
  while (stop_signal() == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const auto dead = std::ranges::find_if_not(state.stages, is_alive);
    if (dead == state.stages.end() || stop_signal() != 0) continue;
    const auto recorded = read_local_state();
    if (recorded && !recorded->has_value()) return 0;  // `commissure down` ended it
    if (recorded && (*recorded)->stages != state.stages) {
      state = **recorded;  // another `up` was quicker
      continue;
    }
    const Status revived = reviver.revive(state, StageProcess(*dead));
    if (revived) continue;
    stop_local_chain(state);
    return revived.error();
  }
  stop_local_chain(state);
  std::fprintf(stderr, "Stopped.\n");
  return 0;
}

Result<int> up(const UpOptions& options) {
  if (!options.local) {
    if (has_deployment_file(options.cloud.choice))
      return do_cloud_work(options.cloud, {.image = true, .weights = true, .services = true}, cloud_outside());
    return Error(Code::kInvalidArgument, "say where: commissure up --local starts a chain on this machine, and ",
                 options.cloud.choice.file, ", which is not here, describes one on Google Cloud (docs/deploy.md)");
  }
  const LocalChainOptions wanted = TRY(plan_chain(options));
  auto running = TRY(read_local_state());
  LocalState state;
  const bool existed = running && any_alive(*running);
  if (existed) {
    TRY(check_same(*running, wanted));
    state = *running;
    TRY(revive_local_chain(state, wanted));
  } else {
    if (running) stop_local_chain(*running);
    state = TRY(start_local_chain(wanted));
  }
  const ApiAddress endpoint = TRY(find_api({state.url()}));
  if (!options.lazy) {
    const Status warm = warm_chain(endpoint, processes_of(state), std::chrono::seconds(600));
    if (!warm) {
      if (!existed) stop_local_chain(state);
      return Error(warm.error());
    }
  }
  print_endpoint(state);
  return options.detach ? Result<int>(0) : stay(std::move(state), wanted);
}

}  // namespace

CommandRun add_up(CLI::App& app) {
  auto options = std::make_shared<UpOptions>();
  app.add_flag("--local", options->local, "all stages on this machine, joined over sockets");
  app.add_option("--stages", options->n_stages, "how many stages")->check(CLI::Range(1, kMaxStages));
  app.add_option("--cuts", options->cuts, "layer boundaries, e.g. 10,20; default: equal bytes");
  app.add_option("--model", options->model, "known name, file, folder or URL");
  app.add_option("--port", options->port, "port of the endpoint")->check(CLI::Range(1, 65535));
  app.add_flag("--detach,-d", options->detach, "return when the chain is ready");
  app.add_flag("--lazy", options->lazy, "do not load weights before the first use or `commissure warm`");
  app.add_option("--threads", options->threads, "threads per stage; default: one for each core")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--isa", options->isa, "kernels: reference, generic, avx2, avx512, amx; default: the best");
  app.add_option("--precision", options->precision,
                 "exact: 16-bit activations, a quarter of the error; default: fast, but exact for the default model")
      ->check(CLI::IsMember({"fast", "exact"}));
  app.add_option("--kv-dtype,--kv-cache-dtype", options->kv_dtype,
                 "keys and values as bf16, or int8: half the memory; default: auto, which is bf16")
      ->check(CLI::IsMember({"auto", "bf16", "int8"}));
  app.add_option("--max-model-len", options->max_model_len,
                 "longest sequence; default: the model's context, at most 8192")
      ->check(CLI::PositiveNumber);
  const auto kv_tokens = app.add_option("--kv-tokens", options->kv_tokens,
                                        "positions all sequences may hold together; default: four contexts")
                             ->check(CLI::PositiveNumber);
  app.add_option("--kv-memory", options->kv_memory, "instead: bytes of KV cache a stage may have, e.g. 2GiB")
      ->transform(CLI::AsSizeValue(true))
      ->excludes(kv_tokens);
  app.add_option("--max-num-seqs", options->max_sequences, "sequences running at once; default: 64")
      ->check(CLI::Range(1, 1024));
  app.add_option("--max-num-batched-tokens", options->max_step_rows,
                 "rows of one step, prompts and decodes together; default: 512")
      ->check(CLI::Range(1, 4096));
  app.add_option("--max-slowdown", options->max_slowdown,
                 "times as long as alone that running streams may wait for a token while a prompt comes in; 0: no "
                 "bound but the rows of a step; default: 2.5")
      ->check(CLI::Range(0.0, 1000.0));
  app.add_option("--queue-limit", options->queue_limit, "requests waiting at once; more get a 429; default: 256")
      ->check(CLI::Range(0, 1'000'000));
  app.add_option("--step-deadline", options->step_deadline,
                 "seconds without an answer or a sign of work after which a stage counts as dead; default: 60")
      ->check(CLI::Range(1, 86'400));
  app.add_option("--metrics-names", options->metrics_names,
                 "names in /metrics: own (commissure_...), vllm (vllm:... where vLLM has it) or both")
      ->check(CLI::IsMember({"own", "vllm", "both"}));
  app.add_option("--chat-template", options->chat_template,
                 "local: a file, or the name of one of the model's own templates, in place of its default");
  app.add_flag("--no-prefix-caching", options->no_prefix_cache, "compute every prompt from its first token");
  app.add_flag("!--no-pack", options->pack, "do not pack a small model of the cache for this CPU's kernels");
  app.add_flag("--read-weights", options->read_weights, "read weights into memory instead of mapping the file");
  add_work_flags(app, options->cloud);
  app.add_flag("--local-image", options->cloud.local_image,
               "on Google Cloud: build the image here (docker, podman or buildah), not on Cloud Build");
  app.add_flag("!--no-wake", options->cloud.wake, "on Google Cloud: do not load the stages, ask no first question");
  return [options] { return up(*options); };
}

}  // namespace commissure
