#include "verify/verify_case.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <string_view>

#include "terminal/word_wrap.h"

namespace commissure {

namespace {

constexpr const char* kTexts[] = {
    "The",
    "Once upon a time, in a village by the sea, there lived",
    "Die Brücke zwischen den beiden Hälften des Gehirns heißt",
    "La tour Eiffel a été construite pour",
    "日本の首都は東京で、",
    "Столица России —",
    "def quicksort(values):\n    \"\"\"Returns the values in rising order.\"\"\"\n    if len(values) < 2:\n",
    "{\"name\": \"Ada\", \"born\": 1815, \"languages\": [",
};

/// Long enough to be cut into several chunks and to fill several KV blocks.
std::string long_text() {
  std::string text;
  for (int i = 1; i <= 30; ++i) {
    text += fmt::format("Item {}: the {} reading was {} at minute {}.\n", i, i % 3 == 0 ? "third" : "usual",
                        (i * 7919) % 1000, i * 5);
  }
  return text + "In summary, the readings";
}

std::vector<VerifyCase> both_ways(const std::vector<std::string>& texts) {
  std::vector<VerifyCase> cases;
  for (const std::string& text : texts) {
    cases.push_back({text, false, 0, {}});
    cases.push_back({text, true, 1000 + cases.size(), {}});
  }
  return cases;
}

bool same_bits(float a, float b) { return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); }

bool alike(float a, float b, const VerifyTolerance& tolerance) {
  return tolerance.exact ? same_bits(a, b) : std::abs(a - b) <= tolerance.logprob;
}

/// Whether the reference holds `other` for nearly as likely as what it chose.
bool is_close_call(const VerifyAnswer& expected, std::size_t i, TokenId other, const VerifyTolerance& tolerance) {
  const auto it = expected.alternatives[i].find(other.value);
  return it != expected.alternatives[i].end() && std::abs(it->second - expected.logprobs[i]) <= 2 * tolerance.logprob;
}

/// On one line, without what steers a terminal.
std::string shown_text(const std::string& text) {
  std::string shown;
  for (const char c : text) {
    if (c == '\n' || c == '\t') {
      shown += ' ';
    } else if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) {
      shown += c;
    }
  }
  return shown;
}

}  // namespace

GenerationRequest VerifyCase::request(int max_tokens) const {
  GenerationRequest request;
  request.prompt = prompt;
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.sampling.temperature = sampled ? kVerifyTemperature : 0.0f;
  request.sampling.seed = seed;
  request.sampling.n_logprobs = kVerifyAlternatives;
  return request;
}

std::string VerifyCase::label(std::size_t width, bool padded) const {
  const std::string suffix = sampled ? " (sampled)" : "";
  const std::size_t room = width - suffix.size();
  const std::string whole = shown_text(text);
  std::string shown = whole;
  std::size_t n_columns = columns_of(shown);
  if (n_columns > room) {
    shown.clear();
    n_columns = 3;
    for (const std::string_view character : characters_of(whole)) {
      const std::size_t more = columns_of(character);
      if (n_columns + more > room) break;
      shown += character;
      n_columns += more;
    }
    shown += "...";
  }
  shown += suffix;
  n_columns += suffix.size();
  if (padded && n_columns < width) shown.append(width - n_columns, ' ');
  return shown;
}

std::optional<std::string> difference(const VerifyCase& asked, const VerifyAnswer& expected, const VerifyAnswer& found,
                                      const VerifyTolerance& tolerance) {
  const std::size_t n = std::min(expected.tokens.size(), found.tokens.size());
  for (std::size_t i = 0; i < n; ++i) {
    if (expected.tokens[i] != found.tokens[i]) {
      const bool may_turn = asked.sampled || is_close_call(expected, i, found.tokens[i], tolerance);
      if (!tolerance.exact && may_turn) return std::nullopt;
      return fmt::format("token {} is {} instead of {}", i, found.tokens[i].value, expected.tokens[i].value);
    }
    if (!alike(expected.logprobs[i], found.logprobs[i], tolerance)) {
      return fmt::format("log-probability of token {} is {} instead of {}", i, found.logprobs[i], expected.logprobs[i]);
    }
    if (!tolerance.exact) continue;  // the list of the best changes at its end by any rounding
    const auto& a = expected.alternatives[i];
    const auto& b = found.alternatives[i];
    const bool equal = a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](auto& x, auto& y) {
                         return x.first == y.first && same_bits(x.second, y.second);
                       });
    if (!equal) return fmt::format("alternatives of token {} differ", i);
  }
  if (expected.tokens.size() == found.tokens.size()) return std::nullopt;
  return fmt::format("{} tokens instead of {}", found.tokens.size(), expected.tokens.size());
}

float largest_gap(const VerifyAnswer& expected, const VerifyAnswer& found) {
  float gap = 0;
  const std::size_t n = std::min(expected.tokens.size(), found.tokens.size());
  for (std::size_t i = 0; i < n && expected.tokens[i] == found.tokens[i]; ++i)
    gap = std::max(gap, std::abs(expected.logprobs[i] - found.logprobs[i]));
  return gap;
}

std::vector<VerifyCase> built_in_cases() {
  std::vector<std::string> texts(std::begin(kTexts), std::end(kTexts));
  texts.push_back(long_text());
  return both_ways(texts);
}

Result<std::vector<VerifyCase>> read_cases(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Error(Code::kNotFound, "cannot read ", path, "; --prompts wants a text file, one prompt a line");
  std::vector<std::string> texts;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) texts.push_back(line);
  }
  if (texts.empty()) return Error(Code::kInvalidArgument, path, " holds no prompt; write one a line");
  return both_ways(texts);
}

}  // namespace commissure
