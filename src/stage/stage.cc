#include "stage/stage.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "core/log.h"
#include "core/scarce.h"
#include "model/adapter_weights.h"
#include "stage/stage_memory.h"
#include "weights/adapter_file.h"
#include "weights/adapter_reader.h"

namespace commissure {
namespace {

/// Resident bytes of this process, and those of them that no file backs.
struct ProcessMemory {
  std::uint64_t resident_bytes = 0;
  std::uint64_t private_bytes = 0;
};

ProcessMemory process_memory() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0, resident = 0, shared = 0;
  if (!(statm >> size >> resident >> shared)) return {};
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return {resident * page, (resident - std::min(shared, resident)) * page};
}

}  // namespace

Stage::Stage(Backend& backend, const Checkpoint& checkpoint, DecoderSpec spec, const StagePlan& plan,
             StageOptions options)
    : backend_(backend),
      checkpoint_(checkpoint),
      spec_(std::move(spec)),
      plan_(plan),
      options_(std::move(options)),
      fingerprint_(checkpoint.quantised_fingerprint()) {}

Result<std::unique_ptr<Stage>> Stage::create(Backend& backend, const Checkpoint& checkpoint, DecoderSpec spec,
                                             const StagePlan& plan, const StageOptions& options) {
  if (options.max_rows <= 0) {
    return Error(Code::kInvalidArgument, "max_rows is ", options.max_rows, ", must be at least 1");
  }
  if (options.n_kv_blocks < 0 || options.n_window_blocks < 0) {
    return Error(Code::kInvalidArgument, "numbers of KV blocks are ", options.n_kv_blocks, " and ",
                 options.n_window_blocks, ", must not be negative");
  }
  const std::uint64_t weight_bytes = TRY(stage_bytes(checkpoint, spec, plan));
  for (int layer = plan.layers.first; layer < plan.layers.last; ++layer) {
    TRY(backend.check_heads(spec.layers[layer].heads));
    TRY(backend.check_delta(spec.layers[layer].delta));
  }
  std::unique_ptr<Stage> stage(new Stage(backend, checkpoint, std::move(spec), plan, options));
  stage->weight_bytes_ = weight_bytes;
  if (options.n_kv_blocks == 0) {
    stage->options_.n_kv_blocks = blocks_within(options.kv_bytes, backend, stage->spec_, plan);
  }
  stage->kv_ = {stage->options_.n_kv_blocks, 0, widest_window(stage->spec_)};
  if (stage->kv_.window > 0)
    stage->kv_.n_window_blocks = options.n_window_blocks > 0 ? options.n_window_blocks : stage->kv_.n_blocks;
  if (has_states(stage->spec_)) stage->kv_.n_states = std::max(1, options.n_states);
  return stage;
}

Stage::~Stage() {
  loader_.request_stop();
  if (loader_.joinable()) loader_.join();
}

void Stage::begin_load() {
  const MutexLock lock(mutex_);
  const bool may_retry = state_ == LoadState::kFailed && problem_.error().code() == Code::kUnavailable;
  if (state_ != LoadState::kCold && !may_retry) return;
  state_ = LoadState::kLoading;
  loaded_bytes_ = 0;
  // A failed loader has set its state as its last act under the lock, so this joins at once.
  const auto begin = [this] { loader_ = std::jthread([this](const std::stop_token& stop) { load(stop); }); };
  if (done_unless_scarce(begin)) return;
  state_ = LoadState::kFailed;
  problem_ = no_memory(Code::kUnavailable);  // so it is tried again
}

void Stage::load(const std::stop_token& stop) {
  const auto start = std::chrono::steady_clock::now();
  using Loaded = Result<std::unique_ptr<Executor>>;
  Loaded executor = unless_scarce([&] { return load_executor(stop); }, [this]() -> Loaded { return too_large(); });
  load_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
  const Status status = executor ? Status() : Status(executor.error());
  done_unless_scarce([&] {
    if (status) {
      log_info("stage ready", {{"stage", plan_.name()}, {"weight_bytes", weight_bytes_}, {"load_ms", load_ms_.load()}});
    } else {
      log_error("stage failed to load", {{"stage", plan_.name()}, {"problem", status.error().to_string()}});
    }
  });
  {
    const MutexLock lock(mutex_);
    if (executor) executor_ = std::move(*executor);
    problem_ = status;
    state_ = status ? LoadState::kReady : LoadState::kFailed;
  }
  changed_.notify_all();
  if (on_loaded_) on_loaded_(status);
}

Result<std::unique_ptr<Executor>> Stage::load_executor(const std::stop_token& stop) {
  const auto progress = [&](std::uint64_t done_bytes, std::uint64_t) {
    loaded_bytes_ = done_bytes;
    return !stop.stop_requested();
  };
  PartWeights weights = TRY(load_weights(backend_, checkpoint_, spec_, model_part(plan_), progress));
  auto executor = TRY(Executor::create(backend_, spec_, plan_, std::move(weights), options_.max_rows, kv_));
  executor->use_adapters(adapters_);
  return executor;
}

Result<std::uint64_t> Stage::load_adapter(const AdapterSource& source) {
  using Loaded = Result<std::uint64_t>;
  return unless_scarce([&] { return read_adapter(source); }, []() -> Loaded { return no_memory(); });
}

Result<std::uint64_t> Stage::read_adapter(const AdapterSource& source) {
  TRY(wait_ready(std::chrono::milliseconds(0), {}));
  const MutexLock one_at_a_time(adapter_loads_);
  if (const auto loaded = adapters_.find(source.id)) return loaded->n_bytes;
  if (const AdapterId found = TRY(adapter_id(source.path)); found != source.id) {
    return Error(Code::kInvalidArgument, "adapter ", source.name, ": ", source.path, " on stage ", plan_.name(),
                 " has the id ", fmt::format("{:016x}", found.value), ", stage A's has ",
                 fmt::format("{:016x}", source.id.value), ": every stage needs the same files");
  }
  const auto reader = TRY(AdapterReader::open(source.path));
  AdapterWeights weights = TRY(commissure::load_adapter(backend_, checkpoint_, spec_, model_part(plan_), *reader));
  const std::uint64_t n_bytes = weights.n_bytes;
  adapters_.put(source.id, std::move(weights));
  log_info("adapter loaded", {{"stage", plan_.name()}, {"adapter", source.name}, {"bytes", n_bytes}});
  return n_bytes;
}

Error Stage::too_large() const {
  const auto in_words = [this] {
    return Error(Code::kResourceExhausted, "no memory for its ", weight_bytes_,
                 " bytes of weights: raise the limit (ulimit -v), or cut the model into more stages");
  };
  return unless_scarce(in_words, [] { return no_memory(); });
}

Error Stage::not_ready() const {
  const std::uint64_t percent = weight_bytes_ == 0 ? 0 : loaded_bytes_ * 100 / weight_bytes_;
  return Error(Code::kUnavailable, "stage ", plan_.name(), " is loading its weights (", percent, " %); try again soon");
}

Result<Executor*> Stage::wait_ready(std::chrono::milliseconds timeout, const std::stop_token& stop) const {
  const MutexLock lock(mutex_);
  const auto is_settled = [this]()
                              REQUIRES(mutex_) { return state_ == LoadState::kReady || state_ == LoadState::kFailed; };
  if (!changed_.wait_for(mutex_, stop, timeout, is_settled)) return not_ready();
  if (state_ == LoadState::kFailed) return problem_.error().within("stage " + plan_.name());
  return executor_.get();
}

Status Stage::health() const {
  const MutexLock lock(mutex_);
  switch (state_) {
    case LoadState::kCold:
    case LoadState::kReady: return {};
    case LoadState::kLoading: return not_ready();
    case LoadState::kUnreachable:
    case LoadState::kFailed: return problem_.error().within("stage " + plan_.name());
  }
  return {};
}

std::uint64_t Stage::n_done() const {
  const MutexLock lock(mutex_);
  return executor_ ? executor_->n_done() : 0;
}

StageInfo Stage::info() const {
  StageInfo info;
  {
    const MutexLock lock(mutex_);
    info.state = state_;
    if (!problem_) info.problem = problem_.error().message();
  }
  const BackendInfo device = backend_.info();
  const ProcessMemory memory = process_memory();
  info.model = options_.model_name;
  info.fingerprint = fingerprint_;
  info.plan = plan_;
  info.precision = precision_name(spec_.precision);
  info.kv_dtype = kv_type_name(spec_.kv_type);
  info.device = device.device;
  info.isa = device.isa;
  info.d_model = spec_.d_model;
  info.row_width = row_width_in(spec_, plan_);
  info.n_kv_blocks = kv_.n_blocks;
  info.n_window_blocks = kv_.n_window_blocks;
  info.n_states = kv_.n_states;
  info.max_rows = options_.max_rows;
  info.weight_bytes = weight_bytes_;
  info.loaded_bytes = loaded_bytes_;
  info.source_bytes_read = checkpoint_.bytes_read();
  info.resident_bytes = memory.resident_bytes;
  info.private_bytes = memory.private_bytes;
  info.load_ms = load_ms_;
  info.pid = getpid();
  return info;
}

}  // namespace commissure
