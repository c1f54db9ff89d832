#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"

namespace commissure::testing {

/// One token per byte, then <bos> (256) and <eos> (257).
class ByteTokenizer : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override;
  int n_tokens() const override { return 258; }
  std::vector<std::size_t> control_places(std::string_view text) const override;
  bool continues_control(std::string_view) const override { return false; }
  std::string token_bytes(TokenId token, bool show_control) const override;
  std::string_view token_text(TokenId token) const override;
  bool is_control(TokenId token) const override { return token.value >= 256; }
  std::optional<TokenId> bos() const override { return TokenId(256); }
  std::optional<TokenId> eos() const override { return TokenId(257); }
  const std::vector<TokenId>& end_tokens() const override { return end_tokens_; }
  bool strips_leading_space() const override { return false; }

 private:
  const std::vector<TokenId> end_tokens_ = {TokenId(257)};
};

/// What the fake does with one request.
struct FakeScript {
  std::vector<std::string> pieces = {"Hello", " ", "world"};  ///< one event each
  int n_events = -1;                                          ///< >= 0: so many events, pieces repeated
  std::chrono::microseconds delay{0};                         ///< before each event
  FinishReason finish = FinishReason::kStop;
  std::optional<Error> refuse = {};  ///< submit fails
  std::optional<Error> error = {};   ///< instead of the finish
  bool hang = false;                 ///< never a first event
};

/// An engine whose answers a script decides, on threads of its own like the real one's.
class FakeEngine final : public Engine {
 public:
  using Script = std::function<FakeScript(const GenerationRequest&)>;
  explicit FakeEngine(Script script = [](const GenerationRequest&) { return FakeScript(); });
  ~FakeEngine() override;

  const ServedModel& model() const override { return model_; }
  const EngineOptions& options() const override { return options_; }
  Result<RequestHandle> submit(GenerationRequest request, EventSink sink) override;
  Status admission() const override { return admission_; }
  void cancel(RequestHandle request) override;
  void reset_prefix_cache() override { ++n_cache_resets_; }
  Status health() const override { return health_; }
  EngineStats stats() const override { return {}; }
  void drain(std::chrono::milliseconds) override {}
  std::string metrics_text() const override { return "# TYPE fake_total counter\nfake_total 1\n"; }

  AdapterKeeper* adapters() const override { return adapters_; }

  ServedModel& mutable_model() { return model_; }
  /// Outlives the engine; set before a service is made of it.
  void set_adapters(AdapterKeeper& adapters) { adapters_ = &adapters; }
  void set_health(Status health) { health_ = std::move(health); }
  void set_admission(Status admission) { admission_ = std::move(admission); }
  int n_cancelled() const { return n_cancelled_; }
  int n_cache_resets() const { return n_cache_resets_; }
  int n_running() const;
  GenerationRequest last_request() const;

 private:
  struct Running {
    std::mutex mutex;  // held around each sink call, so that cancel can promise no further one
    std::condition_variable wake;
    std::atomic<bool> cancelled = false;
    std::atomic<bool> finished = false;
    std::jthread thread;
  };
  void run(Running& running, const GenerationRequest& request, const FakeScript& script, const EventSink& sink);

  ServedModel model_;
  EngineOptions options_;
  AdapterKeeper* adapters_ = nullptr;
  Status health_, admission_;
  const Script script_;
  mutable std::mutex mutex_;
  std::map<RequestHandle, std::unique_ptr<Running>> running_;
  RequestHandle next_ = 1;
  std::optional<GenerationRequest> last_;
  std::atomic<int> n_cancelled_{0};
  std::atomic<int> n_cache_resets_{0};
};

}  // namespace commissure::testing
