#include "support/fake_engine.h"

#include <array>

namespace commissure::testing {

std::vector<TokenId> ByteTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> tokens;
  if (options.add_special) tokens.emplace_back(256);
  for (const char c : text) tokens.emplace_back(static_cast<unsigned char>(c));
  return tokens;
}

std::vector<std::size_t> ByteTokenizer::control_places(std::string_view text) const {
  std::vector<std::size_t> places;
  for (std::size_t begin = 0; begin < text.size(); ++begin) {
    for (const std::string_view spelling : {"<bos>", "<eos>"}) {
      if (spelling.starts_with(text.substr(begin, spelling.size()))) places.push_back(begin);
    }
  }
  return places;
}

std::string ByteTokenizer::token_bytes(TokenId token, bool show_control) const {
  if (token.value < 256) return std::string(1, static_cast<char>(token.value));
  return show_control ? std::string(token_text(token)) : "";
}

std::string_view ByteTokenizer::token_text(TokenId token) const {
  static const auto kBytes = [] {
    std::array<std::string, 256> texts;
    for (int i = 0; i < 256; ++i) texts[static_cast<std::size_t>(i)] = fmt::format("<0x{:02X}>", i);
    return texts;
  }();
  if (token.value == 256) return "<bos>";
  return token.value == 257 ? "<eos>" : std::string_view(kBytes[static_cast<std::size_t>(token.value)]);
}

FakeEngine::FakeEngine(Script script) : script_(std::move(script)) {
  model_.name = "fake/model";
  model_.created = 1700000000;
  model_.context_length = 4096;
  model_.tokenizer = std::make_shared<ByteTokenizer>();
  auto chat = ChatTemplate::compile(
      "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
      "{% if add_generation_prompt %}[assistant]{% endif %}");
  if (chat) model_.chat_template = std::move(*chat);
}

FakeEngine::~FakeEngine() {
  for (const auto& [handle, running] : running_) {
    const std::lock_guard lock(running->mutex);
    running->cancelled = true;
    running->wake.notify_all();
  }
  running_.clear();
}

Result<RequestHandle> FakeEngine::submit(GenerationRequest request, EventSink sink) {
  FakeScript script = script_(request);
  const std::lock_guard lock(mutex_);
  last_ = request;
  if (script.refuse) return *script.refuse;
  const RequestHandle handle = next_++;
  auto& running = *(running_[handle] = std::make_unique<Running>());
  running.thread = std::jthread([this, &running, request = std::move(request), script = std::move(script),
                                 sink = std::move(sink)] { run(running, request, script, sink); });
  return handle;
}

void FakeEngine::run(Running& running, const GenerationRequest& request, const FakeScript& script,
                     const EventSink& sink) {
  const int n_events = request.max_tokens == 0 ? 0
                       : script.n_events >= 0  ? script.n_events
                                               : static_cast<int>(script.pieces.size());
  Usage usage{.prompt_tokens = static_cast<int>(request.prompt.size())};
  for (int i = 0; i <= n_events; ++i) {
    std::unique_lock lock(running.mutex);
    const auto stopped = [&] { return running.cancelled.load(); };
    if (script.hang) running.wake.wait(lock, stopped);
    if (script.delay.count() > 0) running.wake.wait_for(lock, script.delay, stopped);
    if (running.cancelled) return;
    GenerationEvent event;
    if (i == 0 && request.prompt_logprobs >= 0) {
      for (std::size_t t = 1; t < request.prompt.size(); ++t) {
        event.prompt_scores.push_back({.chosen = {request.prompt[t], -0.5f}, .top = {{request.prompt[t], -0.5f}}});
      }
    }
    if (i < n_events) {
      ++usage.completion_tokens;
      event.text = script.pieces[static_cast<std::size_t>(i) % script.pieces.size()];
      GeneratedToken token{TokenId(static_cast<unsigned char>(event.text.front())), event.text, std::nullopt};
      if (const int n = request.sampling.n_logprobs; n >= 0) {
        token.score = ScoredToken{{token.token, -0.25f}, {}};
        for (int k = 0; k < n; ++k)
          token.score->top.push_back({TokenId(k == 0 ? token.token.value : k), -0.25f - static_cast<float>(k)});
      }
      event.tokens.push_back(std::move(token));
    } else if (script.error) {
      event.error = script.error;
      event.finish = FinishReason::kError;
    } else {
      event.finish = request.max_tokens == 0 ? FinishReason::kLength : script.finish;
      if (request.trace != TraceLevel::kNone) {
        event.trace.push_back({StepId(3), 0, 5, 90, {{"a", 1, 2, 3, {}}, {"b", 4, 5, 6, {}}}});
        if (request.trace == TraceLevel::kLayers) event.trace[0].stages[1].checksums = {7, 8};
      }
    }
    event.usage = usage;
    sink(std::move(event));
    if (i == n_events) running.finished = true;
  }
}

void FakeEngine::cancel(RequestHandle request) {
  const std::lock_guard lock(mutex_);
  const auto it = running_.find(request);
  if (it == running_.end()) return;
  Running& running = *it->second;  // stays until the end: joining its thread here could wait for a sink in progress
  const std::lock_guard sink_lock(running.mutex);
  if (!running.finished && !running.cancelled) ++n_cancelled_;
  running.cancelled = true;
  running.wake.notify_all();
}

int FakeEngine::n_running() const {
  const std::lock_guard lock(mutex_);
  int n = 0;
  for (const auto& [handle, running] : running_) n += running->finished || running->cancelled ? 0 : 1;
  return n;
}

GenerationRequest FakeEngine::last_request() const {
  const std::lock_guard lock(mutex_);
  return last_.value_or(GenerationRequest{});
}

}  // namespace commissure::testing
