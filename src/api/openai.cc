#include "api/openai.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "core/index.h"

namespace commissure {

namespace {

/// JSON has no infinity, and clients do arithmetic on these: OpenAI's own floor stands for "never".
double finite(float logprob) { return std::isfinite(logprob) ? std::max(logprob, -9999.0f) : -9999.0; }

std::string shown_bytes(const Tokenizer& tokenizer, TokenId token) {
  return tokenizer.contains(token) ? tokenizer.token_bytes(token, true) : std::string();
}

Json byte_array(std::string_view bytes) {
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
}

bool is_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
    if (length == 0 || lead > 0xF4 || i + length > text.size()) return false;
    for (std::size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return false;
    }
    i += length;
  }
  return true;
}

/// Parts of code points are spelled out as OpenAI does, so that different tokens stay different keys.
std::string legacy_token(const std::string& bytes) {
  if (is_utf8(bytes)) return bytes;
  std::string text = "bytes:";
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

Json chat_entry(const Tokenizer& tokenizer, TokenId token, float logprob) {
  const std::string bytes = shown_bytes(tokenizer, token);
  return {{"token", bytes}, {"bytes", byte_array(bytes)}, {"logprob", finite(logprob)}};
}

std::int64_t count_code_points(std::string_view bytes) {
  return std::count_if(bytes.begin(), bytes.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace

std::string_view openai_finish(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kCancelled: return "abort";
    case FinishReason::kError: return "error";
  }
  return "error";
}

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", 0}}}};
}

Json trace_json(const std::vector<StepTrace>& trace) {
  Json steps = Json::array();
  for (const StepTrace& step : trace) {
    Json stages = Json::array();
    for (const StageTiming& timing : step.stages) {
      Json stage = {{"stage", timing.stage},
                    {"queue_us", timing.queue_us},
                    {"compute_us", timing.compute_us},
                    {"wire_us", timing.wire_us}};
      if (!timing.checksums.empty()) stage["checksums"] = timing.checksums;
      stages.push_back(std::move(stage));
    }
    steps.push_back({{"step", step.step.value},
                     {"position", step.first_position},
                     {"rows", step.n_rows},
                     {"total_us", step.total_us},
                     {"stages", std::move(stages)}});
  }
  return {{"steps", std::move(steps)}};
}

std::int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string random_id(std::string_view prefix) {
  thread_local std::mt19937_64 generator{(std::uint64_t{std::random_device{}()} << 32) ^ std::random_device{}()};
  return fmt::format("{}{:016x}{:08x}", prefix, generator(), generator() >> 32);
}

Json chat_logprobs(const Tokenizer& tokenizer, const std::vector<GeneratedToken>& tokens) {
  Json content = Json::array();
  for (const GeneratedToken& token : tokens) {
    if (!token.score) continue;
    Json entry = chat_entry(tokenizer, token.token, token.score->chosen.logprob);
    Json top = Json::array();
    for (const TokenLogprob& other : token.score->top) top.push_back(chat_entry(tokenizer, other.token, other.logprob));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json prompt_logprobs(const Tokenizer& tokenizer, const std::vector<ScoredToken>& scores, int n_top) {
  Json list = Json::array({nullptr});
  for (const ScoredToken& score : scores) {
    Json entry = Json::object();
    const auto add = [&](const TokenLogprob& token, const Json& rank) {
      entry[std::to_string(token.token.value)] = {
          {"logprob", finite(token.logprob)}, {"rank", rank}, {"decoded_token", shown_bytes(tokenizer, token.token)}};
    };
    add(score.chosen, nullptr);
    const std::size_t n = std::min(score.top.size(), to_size(std::max(n_top, 0)));
    for (std::size_t i = 0; i < n; ++i) add(score.top[i], i + 1);
    list.push_back(std::move(entry));
  }
  return list;
}

std::string CompletionLogprobs::name_of(TokenId token) const {
  return as_ids_ ? fmt::format("token_id:{}", token.value) : legacy_token(shown_bytes(tokenizer_, token));
}

void CompletionLogprobs::push(TokenId token, const std::string& bytes, const ScoredToken* score, int n_top) {
  offsets_.push_back(offset_);
  offset_ += count_code_points(bytes);
  const std::string name = name_of(token);
  tokens_.push_back(name);
  if (score == nullptr) {
    logprobs_.push_back(nullptr);
    top_.push_back(nullptr);
    return;
  }
  logprobs_.push_back(finite(score->chosen.logprob));
  Json top = Json::object();
  // Different ids may share a spelling: the likeliest stands, and it comes first.
  for (std::size_t i = 0; i < std::min(score->top.size(), to_size(n_top)); ++i) {
    const TokenLogprob& other = score->top[i];
    const std::string other_name = name_of(other.token);
    if (!top.contains(other_name)) top[other_name] = finite(other.logprob);
  }
  if (!top.contains(name)) top[name] = finite(score->chosen.logprob);
  top_.push_back(std::move(top));
}

void CompletionLogprobs::add_prompt(const std::vector<TokenId>& prompt, const std::vector<ScoredToken>& scores,
                                    int n_top) {
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    const ScoredToken* score = i > 0 && i - 1 < scores.size() ? &scores[i - 1] : nullptr;
    push(prompt[i], tokenizer_.contains(prompt[i]) ? tokenizer_.token_bytes(prompt[i], false) : "", score, n_top);
  }
}

void CompletionLogprobs::add(const std::vector<GeneratedToken>& tokens) {
  for (const GeneratedToken& token : tokens) push(token.token, token.bytes, token.score ? &*token.score : nullptr);
}

Json CompletionLogprobs::take() {
  Json result = {{"tokens", std::move(tokens_)},
                 {"token_logprobs", std::move(logprobs_)},
                 {"top_logprobs", std::move(top_)},
                 {"text_offset", std::move(offsets_)}};
  tokens_ = logprobs_ = top_ = offsets_ = Json::array();
  return result;
}

}  // namespace commissure
