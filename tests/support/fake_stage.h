#pragma once

// Stages without a model, for the tests and the benchmark of this room.

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/queue.h"
#include "step/chain_link.h"
#include "wire/call_queue.h"
#include "wire/stage_server.h"

namespace commissure {

inline constexpr int kFakeWidth = 8;

/// What stage `index` of `n_stages` with ten layers each says of itself.
inline StageInfo fake_info(int index, int n_stages, int d_model = kFakeWidth) {
  StageInfo info;
  info.model = "Fake";
  info.fingerprint = "0123456789abcdef";
  info.plan = {index, n_stages, 10 * n_stages, {10 * index, 10 * index + 10}};
  info.precision = "fast";
  info.kv_dtype = "bf16";
  info.d_model = d_model;
  info.max_rows = 64;
  info.weight_bytes = 100;
  info.state = LoadState::kReady;
  return info;
}

/// A link in this process, with a thread and a queue, like a real stage: adds 1 to every value of the boundary, and on
/// the last stage answers with their sum as the sampled token.
class FakeLocalLink final : public StageLink {
 public:
  explicit FakeLocalLink(StageInfo info) : info_(std::move(info)) {}
  ~FakeLocalLink() override { stop(); }

  void start(Sink sink) override {
    sink_ = std::move(sink);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }
  Status submit(StageInput input) override {
    if (!inbox_.push(std::move(input))) return Error(Code::kUnavailable, "stopped");
    ++n_taken_;
    return {};
  }
  Status health() const override { return {}; }
  void stop() override {
    inbox_.close();
    thread_.request_stop();
    hold(false);
    if (thread_.joinable()) thread_.join();
  }

  /// While held, steps are taken but not run.
  void hold(bool on) {
    held_ = on;
    held_.notify_all();
  }
  /// Whether a step that is held is one that takes long, and not a frozen one.
  void compute_long(bool on) { computes_ = on; }
  bool gets_on() const { return held_ && computes_; }
  /// The step that fails alone.
  void fail(StepId step, Code code = Code::kInvalidArgument) {
    failing_ = step.value;
    failing_code_ = code;
  }
  /// Steps taken so far.
  int n_taken() const { return n_taken_; }

 private:
  void run(const std::stop_token& stop) {
    while (auto input = inbox_.pop(stop)) {
      held_.wait(true);
      sink_(stop.stop_requested() ? Result<StageOutput>(cancelled()) : step(std::move(*input)));
    }
    while (inbox_.try_pop()) sink_(cancelled());
  }
  static Error cancelled() { return Error(Code::kCancelled, "stopped"); }

  Result<StageOutput> step(StageInput input) const {
    const StepId id = input.batch.step;
    if (id.value == failing_) return Error(failing_code_, "step ", id.value, " fails alone");
    const auto n_rows = static_cast<std::size_t>(input.batch.n_rows());
    std::vector<bf16> values(n_rows * static_cast<std::size_t>(info_.d_model), 1);
    for (std::size_t i = 0; i < input.boundary.values.size(); ++i) {
      values[i] = static_cast<bf16>(input.boundary.values[i] + 1);
    }
    StageOutput output{std::move(input.batch), {}, {{info_.plan.name(), 1, 2, 0}}};
    if (!info_.plan.is_last()) {
      output.value = make_boundary(id, static_cast<int>(n_rows), info_.d_model, std::move(values));
      return output;
    }
    SampledTokens tokens{id, {}, {}};
    std::size_t at = 0;
    for (const SequenceRows& rows : output.batch.slices) {
      int sum = 0;
      for (std::size_t n = rows.tokens.size() * static_cast<std::size_t>(info_.d_model); n > 0; --n) {
        sum += values[at++];
      }
      tokens.results.push_back({rows.sequence, ScoredToken{{TokenId(sum), -1.0f}, {}}, {}});
    }
    output.value = std::move(tokens);
    return output;
  }

  const StageInfo info_;
  Sink sink_;
  BoundedQueue<StageInput> inbox_{32};
  std::atomic<int> n_taken_ = 0;
  std::atomic<bool> held_ = false;
  std::atomic<bool> computes_ = false;
  std::atomic<std::uint64_t> failing_ = ~std::uint64_t{0};
  std::atomic<Code> failing_code_ = Code::kInvalidArgument;
  std::jthread thread_;
};

/// A directory for sockets that goes away with its owner.
struct SocketDir {
  std::filesystem::path path;
  SocketDir() {
    static std::atomic<int> count = 0;
    path = std::filesystem::temp_directory_path() / fmt::format("wire-{}-{}", getpid(), count++);
    std::filesystem::create_directories(path);
  }
  ~SocketDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Endpoint endpoint(const std::string& name) const { return *parse_endpoint("unix:" + (path / name).string()); }
};

/// A step that begins a sequence of its own and samples after its one row.
inline StageInput step_of_one_row(std::uint64_t id) {
  SequenceRows rows;
  rows.sequence = SequenceId(id);
  rows.tokens = {TokenId(1)};
  rows.new_blocks = {BlockId(0)};
  rows.sample = true;
  return {{StepId(id), {rows}, {}}, make_boundary(StepId(id), 1, kFakeWidth, std::vector<bf16>(kFakeWidth))};
}

/// Limits short enough for tests, long enough for a busy machine.
inline GrpcLinkOptions fake_link_options(const Endpoint& endpoint, std::function<StageInfo()> self) {
  GrpcLinkOptions options;
  options.endpoint = endpoint;
  options.self = std::move(self);
  options.min_backoff = std::chrono::milliseconds(5);
  options.max_backoff = std::chrono::milliseconds(50);
  return options;
}

/// Memory that runs out once, at the n-th call of spend() from arm(n) on.
class ScarceMemory {
 public:
  void arm(int n) { left_ = n; }
  void spend() {
    if (left_ >= 0 && left_-- == 0) throw std::bad_alloc();
  }
  bool is_spent() const { return left_ < 0; }

 private:
  std::atomic<int> left_ = -1;
};

/// One stage process in miniature: what an app builds for stage B, C, ...
class FakeProcess {
 public:
  /// Serves stage `info` at `listen`; `next` is where the following stage listens, if there is one.
  FakeProcess(const StageInfo& info, const Endpoint& listen, std::optional<Endpoint> next = {}, bool loaded = true,
              const ServerSecurity& security = {}, std::chrono::milliseconds head_patience = std::chrono::minutes(1))
      : local(info), info_(info) {
    StageServiceOptions options;
    options.self = {[this] { return this->info(); }, [this] { ++n_wakes; }};
    options.on_new_stream = [this](StageMemory left) {
      memory.spend();
      ++n_resets;
      if (left == StageMemory::kNothing) ++n_forgets;
    };
    options.ready_wait = std::chrono::milliseconds(500);
    options.gets_on = [this] { return local.gets_on(); };
    options.busy_interval = std::chrono::milliseconds(10);
    options.head_silence = std::chrono::milliseconds(50);
    options.head_patience = head_patience;
    options.callers = security.callers;
    if (next) {
      GrpcLinkOptions behind = fake_link_options(*next, [this] { return this->info(); });
      behind.queue = queue;
      link = std::make_unique<GrpcLink>(std::move(behind));
      client = std::make_unique<StageClient>(*next);
      chain = std::make_unique<ChainLink>(local, *link);
      options.next = link.get();
      options.next_client = client.get();
    }
    service = std::make_unique<StageService>(options);
    server = StageServer::start(*service, {listen}, security, queue).value();
    if (loaded) serve();
  }
  ~FakeProcess() { server->stop(std::chrono::milliseconds(0)); }

  void serve() { service->serve(chain ? static_cast<StageLink&>(*chain) : local); }
  StageInfo info() {
    memory.spend();
    const std::lock_guard lock(mutex_);
    return info_;
  }
  void change(auto edit) {
    const std::lock_guard lock(mutex_);
    edit(info_);
  }

  FakeLocalLink local;
  std::shared_ptr<CallQueue> queue = std::make_shared<CallQueue>();
  std::unique_ptr<GrpcLink> link;
  std::unique_ptr<StageClient> client;
  std::unique_ptr<ChainLink> chain;
  std::unique_ptr<StageService> service;
  std::unique_ptr<StageServer> server;
  std::atomic<int> n_resets = 0;   ///< streams before which sequences were forgotten
  std::atomic<int> n_forgets = 0;  ///< of them, those before which the rows were, too
  std::atomic<int> n_wakes = 0;
  ScarceMemory memory;  ///< of what it is asked about itself, and of a new stream

 private:
  mutable std::mutex mutex_;
  StageInfo info_;
};

}  // namespace commissure
