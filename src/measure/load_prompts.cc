#include "measure/load_prompts.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/index.h"

namespace commissure {

namespace {

/// Short and common, so that nearly every one is a single token in any vocabulary.
constexpr std::array<const char*, 64> kWords = {
    "time",   "year",    "people", "way",      "day",      "man",     "thing",   "woman", "life",  "child",   "world",
    "school", "state",   "family", "student",  "group",    "country", "problem", "hand",  "part",  "place",   "case",
    "week",   "company", "system", "program",  "question", "work",    "number",  "night", "point", "home",    "water",
    "room",   "mother",  "area",   "money",    "story",    "fact",    "month",   "lot",   "right", "study",   "book",
    "eye",    "job",     "word",   "business", "issue",    "side",    "kind",    "head",  "house", "service", "friend",
    "father", "power",   "hour",   "game",     "line",     "end",     "member",  "law",   "car"};

/// One step of SplitMix64 (Steele, Lea, Flood 2014): a good hash of a counter.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// Tokens of `text` on the server, or -1 when it cannot tell.
int count_tokens(const ApiAddress& endpoint, const std::string& model, const std::string& text) {
  // vLLM and Commissure read "prompt", llama.cpp "content".
  Json body = {{"prompt", text}, {"content", text}};
  if (!model.empty()) body["model"] = model;
  const auto answer = exchange_json(endpoint, "/tokenize", body);
  if (!answer) return -1;
  const Json* tokens = find_member(*answer, "tokens");
  return tokens != nullptr && tokens->is_array() ? count_of(*tokens) : -1;
}

}  // namespace

LoadPrompts::LoadPrompts(std::uint64_t seed, int n_words, double shared_fraction)
    : seed_(seed),
      n_words_(std::max(1, n_words)),
      n_shared_(static_cast<int>(std::lround(shared_fraction * n_words_))) {}

std::string LoadPrompts::make(std::uint64_t request) const {
  std::string text;
  for (int i = 0; i < n_words_; ++i) {
    const std::uint64_t who = i < n_shared_ ? ~std::uint64_t{0} : request;
    const std::uint64_t draw = mix(mix(mix(seed_) ^ who) ^ static_cast<std::uint64_t>(i));
    if (i > 0) text += ' ';
    text += kWords[draw % kWords.size()];
  }
  return text;
}

LoadPrompts fit_prompts(const ApiAddress& endpoint, const std::string& model, std::uint64_t seed, int n_tokens,
                        double shared_fraction) {
  int n_words = n_tokens;
  for (int attempt = 0; attempt < 4; ++attempt) {
    const int n = count_tokens(endpoint, model, LoadPrompts(seed, n_words, shared_fraction).make(0));
    if (n < 0 || n == n_tokens) break;
    n_words = std::max(1, n_words + n_tokens - n);
  }
  return {seed, n_words, shared_fraction};
}

}  // namespace commissure
