#include "api/openai.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "core/index.h"
#include "text/utf8.h"

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

/// Parts of code points are spelled out as OpenAI does, so that different tokens stay different keys.
std::string legacy_token(const std::string& bytes) {
  if (valid_utf8_prefix(bytes) == bytes.size()) return bytes;
  std::string text = "bytes:";
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

Json chat_entry(const Tokenizer& tokenizer, TokenId token, float logprob) {
  const std::string bytes = shown_bytes(tokenizer, token);
  return {{"token", bytes}, {"bytes", byte_array(bytes)}, {"logprob", finite(logprob)}};
}

/// The bytes at the front of `text` that a token stands for: as the vocabulary has them, as they are shown where they
/// are no UTF-8, or without the space that the tokenizer drops at the start of a text. None where a control token is
/// not spelled there; a normaliser's doing is taken for as many characters.
std::size_t bytes_of(const Tokenizer& tokenizer, TokenId token, std::string_view text, bool at_start) {
  const std::string bytes = shown_bytes(tokenizer, token);
  if (text.starts_with(bytes)) return bytes.size();
  if (tokenizer.is_control(token)) return 0;
  const std::string shown = replace_invalid_utf8(bytes);
  if (text.starts_with(shown)) return shown.size();
  if (at_start && bytes.starts_with(' ') && text.starts_with(std::string_view(bytes).substr(1)))
    return bytes.size() - 1;
  std::size_t n_bytes = 0;
  for (std::int64_t n = count_code_points(shown); n > 0 && n_bytes < text.size(); --n)
    n_bytes += to_size(decode_code_point(text, n_bytes).n_bytes);
  return n_bytes;
}

bool continues_code_point(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace

std::int64_t count_code_points(std::string_view bytes) {
  return std::ranges::count_if(bytes, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

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
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
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

void CompletionLogprobs::push(TokenId token, std::int64_t offset, const ScoredToken* score, int n_top) {
  offsets_.push_back(offset);
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

void CompletionLogprobs::add_prompt(const std::vector<TokenId>& prompt, std::string_view text,
                                    const std::vector<ScoredToken>& scores, int n_top) {
  std::string_view rest = text;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    const bool is_inside = !rest.empty() && continues_code_point(rest.front());
    const ScoredToken* score = i > 0 && i - 1 < scores.size() ? &scores[i - 1] : nullptr;
    push(prompt[i], offset_ - (is_inside ? 1 : 0), score, n_top);
    const std::size_t n_bytes = bytes_of(tokenizer_, prompt[i], rest, rest.size() == text.size());
    offset_ += count_code_points(rest.substr(0, n_bytes));
    rest.remove_prefix(n_bytes);
  }
  offset_ += count_code_points(rest);
}

void CompletionLogprobs::add(const std::vector<GeneratedToken>& tokens) {
  for (const GeneratedToken& token : tokens) {
    // One that begins a character leaves U+FFFD of what was unfinished before it.
    if (!held_.empty() && !token.bytes.empty() && !continues_code_point(token.bytes.front())) {
      held_.clear();
      ++offset_;
    }
    push(token.token, offset_, token.score ? &*token.score : nullptr);
    held_ += token.bytes;
    const std::size_t n_finished = finished_utf8(held_);
    offset_ += count_code_points(replace_invalid_utf8(std::string_view(held_).substr(0, n_finished)));
    held_.erase(0, n_finished);
  }
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
