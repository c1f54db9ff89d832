#include "serve/stage_runner.h"

#include <malloc.h>
#include <signal.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "api/api_service.h"
#include "core/core_lease.h"
#include "core/log.h"
#include "core/scarce.h"
#include "core/version.h"
#include "engine/engine.h"
#include "http/http_server.h"
#include "hub/model_store.h"
#include "hub/open_model.h"
#include "kernels/devices.h"
#include "model/quantise_at_load.h"
#include "net/host.h"
#include "net/span_exporter.h"
#include "page/page_files.h"
#include "plan/split_plan.h"
#include "serve/await_signal.h"
#include "serve/card_memory.h"
#include "serve/chain_view.h"
#include "serve/needed_threads.h"
#include "serve/open_files.h"
#include "serve/served_adapters.h"
#include "serve/served_images.h"
#include "serve/served_model.h"
#include "serve/waking_link.h"
#include "stage/card_use.h"
#include "stage/local_link.h"
#include "stage/stage.h"
#include "stage/stage_memory.h"
#include "step/chain_link.h"
#include "terminal/progress.h"
#include "wire/call_queue.h"
#include "wire/grpc_link.h"
#include "wire/stage_server.h"
#include "wire/stage_service.h"

namespace commissure {

namespace {

constexpr std::chrono::milliseconds kGrace{8'000};    // Cloud Run kills 10 s after SIGTERM
constexpr std::chrono::milliseconds kLostGrace{500};  // without its device it finishes nothing
constexpr std::chrono::milliseconds kWakeLimit{600'000};
constexpr int kMostSlots = 8;  // what a stage's queue holds

/// Cloud Run ends every stream after 60 minutes at most.
std::chrono::seconds stream_age(const StageSettings& settings) {
  if (settings.max_stream_age >= 0) return std::chrono::seconds(settings.max_stream_age);
  return settings.security.on_platform ? std::chrono::minutes(55) : std::chrono::seconds(0);
}

/// One stage process: what it is built of, in the order it is connected; ends in the reverse order.
class StageRunner {
 public:
  StageRunner(const StageSettings& settings, ChosenDevice device) : settings_(settings), device_(std::move(device)) {}

  /// Opens the model's header and builds the stage; reads no weights.
  Status build();
  /// Begins to serve.
  Status serve();
  /// Waits for SIGTERM or SIGINT. Errors: kUnavailable, kResourceExhausted: the device is lost.
  Status await_end() const;
  /// Finishes what runs within `grace` and stops serving.
  void drain(std::chrono::milliseconds grace);

 private:
  Status check_card(const DecoderSpec& spec, std::uint64_t free_bytes) const;
  Status build_links();
  Status serve_steps();
  Status serve_api();
  EngineOptions engine_options() const;
  LocalStage local_stage();
  Status add_images(ServedModel& model);
  void wake();

  const StageSettings settings_;
  const int open_file_limit_ = raise_open_file_limit();
  std::unique_ptr<Checkpoint> checkpoint_;
  const ChosenDevice device_;
  std::unique_ptr<CoreLease> lease_;
  std::unique_ptr<Stage> stage_;
  LocalModel model_;
  std::optional<FoundVision> vision_;     // of the first stage, until images_ has it
  bool see_each_other_ = true;            // an image's rows do, in some layers at least
  std::shared_ptr<ServedImages> images_;  // shared with the engine; null: the model takes text alone
  ContextPlan context_;
  AdapterOptions adapters_;              // of the first stage
  std::vector<int> boundary_row_bytes_;  // into stage i + 1

  std::shared_ptr<SpanExporter> spans_;  // shared with those that use it; null without a collector
  MetadataServer tokens_;                // outlives the links
  const std::shared_ptr<CallQueue> calls_ = std::make_shared<CallQueue>();
  std::unique_ptr<GrpcLink> next_;            // to the next process; null on the last stage
  std::unique_ptr<StageClient> next_client_;  // the same, for questions
  std::unique_ptr<LocalLink> local_;
  std::unique_ptr<ChainLink> chain_;  // local_ and next_ in a row; null on the last stage

  std::unique_ptr<StageService> service_;  // all stages but the first
  std::unique_ptr<StageServer> server_;

  std::unique_ptr<WakingLink> waking_;  // the first stage only, from here on
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ChainView> view_;
  std::unique_ptr<ApiService> api_;
  std::unique_ptr<HttpServer> http_;
};

Status StageRunner::build() {
  model_ = TRY(resolve_model(settings_.model, settings_.is_first()));
  if (!settings_.model_name.empty()) model_.name = settings_.model_name;
  if (!settings_.served_names.empty()) model_.name = settings_.served_names.front();
  checkpoint_ = TRY(open_model(model_.location, settings_.read_weights ? ReadMode::kRead : ReadMode::kMap,
                               settings_.is_first() ? Vocabulary::kKeep : Vocabulary::kSkip));
  DecoderSpec spec = TRY(read_decoder_spec(*checkpoint_));
  spec.precision = TRY(parse_precision(settings_.precision));
  spec.kv_type = TRY(parse_kv_type(settings_.kv_dtype));
  if (settings_.is_first()) {
    see_each_other_ = spec.image_sight != ImageSight::kNoLayer;
    vision_ = TRY(find_vision(*checkpoint_, settings_.mmproj, spec.d_model,
                              settings_.read_weights ? ReadMode::kRead : ReadMode::kMap));
  }
  const std::vector<StagePlan> plans = TRY(plan_stages(spec.n_layers(), settings_.cuts));
  const std::vector<QuantWish> quants = TRY(parse_quants(settings_.quant, settings_.n_stages()));
  if (const Status fit = check_stage_quants(spec, quants); !fit) return fit.error().within("--quant (QUANT)");
  TRY(quantise_at_load(*checkpoint_, spec, model_part(plans[settings_.index()]), quants[settings_.index()]));
  // Rows grow from cut to cut (boundary_layout).
  for (const StagePlan& plan : std::span(plans).subspan(1)) {
    boundary_row_bytes_.push_back(row_width_in(spec, plan) * static_cast<int>(sizeof(bf16)));
  }
  TRY(check_step_bytes(settings_, row_width_in(spec, plans.back())));
  context_ = TRY(plan_context(spec, settings_.cuts,
                              {settings_.max_model_len, settings_.kv_tokens, settings_.kv_memory,
                               settings_.max_sequences, settings_.max_step_rows}));
  if (!settings_.lease.empty()) lease_ = TRY(CoreLease::open(settings_.lease));
  if (settings_.device != "cpu") log_info("computes on the " + device_.reason);
  if (device_.free_bytes) TRY(check_card(spec, TRY(device_.free_bytes())));
  StageOptions options;
  options.model_name = model_.name;
  options.max_rows = settings_.max_step_rows;
  options.n_kv_blocks = context_.kv.n_blocks;
  options.n_window_blocks = context_.kv.n_window_blocks;
  options.n_states = context_.kv.n_states;
  if (settings_.is_first()) {
    adapters_ = TRY(read_adapters(settings_.adapters, spec));
    for (const AdapterSource& adapter : adapters_.known) {
      if (adapter.name == model_.name || std::ranges::count(settings_.served_names, adapter.name) > 0)
        return Error(Code::kInvalidArgument, "--adapter ", adapter.name,
                     ": the model itself is served under that name");
    }
  }
  stage_ = TRY(Stage::create(*device_.backend, *checkpoint_, spec, plans[settings_.index()], options));
  return build_links();
}

/// Before anything is loaded: a card has what it has, and nothing of it is swapped.
Status StageRunner::check_card(const DecoderSpec& spec, std::uint64_t free_bytes) const {
  const auto stages = TRY(estimate_stages(*checkpoint_, spec, settings_.cuts, context_.kv, settings_.max_step_rows));
  const StageEstimate& stage = stages[settings_.index()];
  const CardUse use = TRY(card_use(*checkpoint_, spec, stage.plan, settings_.max_step_rows));
  TRY(check_card_memory(stage, use, free_bytes));
  log_info("takes " + describe_card_memory(stage, use, free_bytes));
  return {};
}

Status StageRunner::build_links() {
  // gRPC waits without end where a thread of its own is refused, so what a stage needs is tried before.
  TRY(try_threads(needed_threads(settings_, static_cast<int>(std::thread::hardware_concurrency()))));
  if (!settings_.trace_collector.empty()) {
    spans_ = std::make_shared<SpanExporter>(settings_.trace_collector, "commissure", "stage " + settings_.stage);
  }
  LocalLinkOptions local;
  local.lease = lease_.get();
  // Stage A tells of its own steps with those of stages that have no collector.
  if (spans_ && !settings_.is_first()) {
    local.on_spans = [spans = spans_](std::vector<Span> made) { spans->add(std::move(made)); };
  }
  local_ = std::make_unique<LocalLink>(*stage_, local);
  if (settings_.is_last()) return {};
  GrpcLinkOptions next;
  next.endpoint = TRY(parse_endpoint(settings_.next, settings_.allow_plaintext));
  next.self = [this] { return stage_->info(); };
  next.lazy = settings_.lazy;
  next.max_stream_age = stream_age(settings_);
  next.step_deadline = std::chrono::seconds(settings_.step_deadline);
  next.step_deadline_floor = next.step_deadline / 4;
  next.n_done = [this] { return local_->n_done(); };
  next.queue = calls_;
  next.security = TRY(client_security(settings_.security, next.endpoint, tokens_));
  next_client_ = std::make_unique<StageClient>(next.endpoint, next.security);
  next_ = std::make_unique<GrpcLink>(std::move(next));
  chain_ = std::make_unique<ChainLink>(*local_, *next_);
  return {};
}

LocalStage StageRunner::local_stage() {
  return {[this] { return stage_->info(); }, [this] { wake(); },
          [this](const AdapterSource& source) { return stage_->load_adapter(source); },
          [this](AdapterId id) { stage_->drop_adapter(id); }};
}

void StageRunner::wake() {
  if (next_) next_->connect();  // which wakes the stages behind, while this one loads
  stage_->begin_load();
  if (images_) images_->begin_load();
}

Status StageRunner::serve() {
  stage_->on_loaded([this](const Status& status) {
    if (!status) {
      log_error(status.error().message());
      return;
    }
    const StageInfo info = stage_->info();
    log_info("loaded", {{"layers", fmt::format("{}-{}", info.plan.layers.first, info.plan.layers.last - 1)},
                        {"weights", human_bytes(info.weight_bytes)},
                        {"ms", info.load_ms},
                        {"resident", human_bytes(info.resident_bytes)},
                        {"isa", info.isa}});
    if (service_) service_->serve(chain_ ? static_cast<StageLink&>(*chain_) : *local_);
  });
  TRY(settings_.is_first() ? serve_api() : serve_steps());
  if (!settings_.lazy) wake();
  return {};
}

Status StageRunner::serve_steps() {
  StageServiceOptions options;
  options.self = local_stage();
  options.on_new_stream = [this](StageMemory left) { local_->forget_all_but(left); };
  options.gets_on = [this] { return local_->gets_on(); };
  options.next = next_.get();
  options.next_client = next_client_.get();
  const ServerSecurity security = TRY(server_security(settings_.security));
  options.callers = security.callers;
  service_ = std::make_unique<StageService>(std::move(options));
  const std::string listen =
      settings_.listen.empty() ? host_and_port(settings_.address(), settings_.port) : settings_.listen;
  const Endpoint endpoint = TRY(parse_endpoint(listen, true));
  server_ = TRY(StageServer::start(*service_, {endpoint}, security, calls_));
  LogFields fields = {{"endpoint", listen}};
  if (server_->port() != settings_.port && server_->port() > 0) fields.emplace_back("port", server_->port());
  log_info("listening", fields);
  if (!endpoint.stays_local && !security.tls && !security.callers && !settings_.security.on_platform) {
    log_warning("whoever reaches this port may use this stage: it has no TLS and asks for no identity",
                {{"endpoint", listen}});
  }
  return {};
}

EngineOptions StageRunner::engine_options() const {
  EngineOptions options;
  options.max_sequences = settings_.max_sequences;
  options.max_step_rows = settings_.max_step_rows;
  options.max_partial_prefills = settings_.max_partial_prefills;
  options.max_slowdown = settings_.max_slowdown;
  options.queue_limit = settings_.queue_limit;
  options.prefix_cache = settings_.prefix_cache;
  options.n_kv_blocks = stage_->kv().n_blocks;
  options.n_window_blocks = stage_->kv().n_window_blocks;
  options.window = stage_->kv().window;
  options.keeps_states = stage_->kv().n_states > 0;
  options.n_layers = stage_->info().plan.n_model_layers;
  options.boundary_row_bytes = boundary_row_bytes_;
  options.adapters = adapters_;
  // Stages on the same cores take turns: a second step in flight parts the sequences into two batches, and each reads
  // the weights.
  options.shares_cores = lease_ != nullptr || settings_.n_stages() == 1;
  options.steps_in_flight = options.shares_cores ? 1 : settings_.n_stages() + 1;
  options.max_decode_slots = options.shares_cores ? 2 : std::max(kMostSlots, options.steps_in_flight + 1);
  return options;
}

Status StageRunner::add_images(ServedModel& model) {
  if (!vision_) return {};
  const Status fits = see_each_other_ ? check_image_rows(vision_->spec.most_rows(), stage_->kv().window,
                                                         settings_.max_step_rows, settings_.max_sequences)
                                      : Status();
  if (!fits && !settings_.mmproj.empty()) return fits;
  if (!fits) {
    vision_.reset();
    log_warning("the model takes text alone: its images do not fit", {{"reason", fits.error().message()}});
    return {};
  }
  const CpuOptions cpu = {
      .n_threads = settings_.threads, .pin = lease_ != nullptr, .isa = settings_.device == "cpu" ? settings_.isa : ""};
  const ImageMarks marks = image_marks(*checkpoint_, *model.tokenizer, model.n_rows, vision_->spec.family);
  log_info("takes images", {{"encoder", vision_->checkpoint(*checkpoint_).location()},
                            {"weights", human_bytes(vision_->weight_bytes)}});
  images_ = TRY(ServedImages::create(*std::exchange(vision_, std::nullopt), *checkpoint_, marks,
                                     {.cpu = cpu, .lease = settings_.lease, .see_each_other = see_each_other_}));
  model.image_encoder = images_;
  return {};
}

Status StageRunner::serve_api() {
  ServedModel model = TRY(read_served_model(*checkpoint_, model_, context_.context, settings_.chat));
  TRY(add_images(model));
  checkpoint_->drop_vocabulary();
  malloc_trim(0);  // tens of megabytes of building material lie in small pieces
  StageLink& chain = chain_ ? static_cast<StageLink&>(*chain_) : *local_;
  waking_ = std::make_unique<WakingLink>(chain, [this] { wake(); }, kWakeLimit);
  engine_ = Engine::create(std::move(model), engine_options(), *waking_);
  view_ = std::make_unique<ChainView>(local_stage(), next_client_.get());

  ApiOptions api;
  const auto& names = settings_.served_names;
  if (!names.empty()) api.model_aliases.assign(names.begin() + 1, names.end());
  api.cors_origins = settings_.cors_origins;
  api.image_urls = TRY(FetchPolicy::parse(settings_.image_urls));
  api.is_local = is_loopback(settings_.address());
  api.allowed_hosts = settings_.allowed_hosts;
  api.api_keys = settings_.api_keys;
  api.metric_names = parse_metric_names(settings_.metrics_names).value_or(MetricNames::kOwn);
  api.spans = spans_;
  api.cloud_project = settings_.cloud_project;
  api.log_prompts = settings_.log_prompts;
  api.sanitize = settings_.sanitize;
  if (settings_.has_page) api.page = page_files();
  api.version = kVersion;
  api.status = [this] { return view_->to_json(); };
  api.warming = [this]() -> std::optional<Json> {
    if (!waking_->is_waking()) return std::nullopt;
    return view_->to_json();
  };
  api.wake = [this] { wake(); };
  api_ = std::make_unique<ApiService>(*engine_, std::move(api));
  HttpServerOptions http;
  http.address = settings_.address();
  http.port = settings_.port;
  http.max_connections = connections_within(open_file_limit_);
  http.is_quick = &ApiService::is_quick;
  http.is_long = &ApiService::is_long;
  http_ = TRY(HttpServer::start(http, api_->handler()));
  if (stage_->kv().n_states > 0 && settings_.prefix_cache) {
    log_info("no prefix cache: the model has recurrent layers, whose states are not kept for later requests");
  }
  log_info("serving", {{"url", "http://" + host_and_port(settings_.address(), http_->port())}, {"model", model_.name}});
  return {};
}

Status StageRunner::await_end() const {
  const int received = TRY(await_signal(end_signals(), device_.health, std::chrono::seconds(1)));
  log_info(received == SIGTERM ? "SIGTERM: finishing what runs" : "interrupted: finishing what runs");
  return {};
}

void StageRunner::drain(std::chrono::milliseconds grace) {
  if (images_) images_->stop();  // the requests they belong to would be refused
  if (engine_) engine_->drain(grace);
  if (http_) http_->stop(std::chrono::milliseconds(500));  // the last events are on their way out
  if (api_) api_->stop();                                  // its thread of images asks the engine
  if (service_) service_->stop(grace);
  if (server_) server_->stop(std::chrono::milliseconds(500));
  engine_.reset();  // stops the links
}

/// Bounds what the allocator keeps of freed memory in the heap of each thread. By itself it keeps twice the largest
/// block that was ever freed: after a body of megabytes, megabytes for each thread that reads some.
void bound_kept_memory() {
  constexpr int kKeptBytes = 1 << 20;
  if (mallopt(M_MMAP_THRESHOLD, kKeptBytes) != 1 || mallopt(M_TRIM_THRESHOLD, kKeptBytes) != 1) {
    log_warning("the allocator takes no bounds: it may keep what large bodies took");
  }
}

}  // namespace

Status run_stage(const StageSettings& settings, ChosenDevice device) {
  if (settings.is_first()) bound_kept_memory();  // of API requests; other stages have none, and large frames
  signal(SIGPIPE, SIG_IGN);

  StageRunner runner(settings, std::move(device));
  TRY(runner.build());
  TRY(runner.serve());
  const Status ended = runner.await_end();
  runner.drain(ended ? kGrace : kLostGrace);
  if (ended) log_info("ended");
  return ended;
}

}  // namespace commissure
