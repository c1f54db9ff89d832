#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/result.h"
#include "engine/generation.h"

namespace commissure {

/// One prompt and how to continue it.
struct VerifyCase {
  std::string text;
  bool sampled = false;  ///< seeded draws at temperature 0.8; else greedy
  std::uint64_t seed = 0;
  std::vector<TokenId> prompt;  ///< of `text`, by the reference's tokenizer

  /// As the reference's engine takes it.
  GenerationRequest request(int max_tokens) const;
  /// "Once upon a time there ... (sampled)", at most `width` columns, or exactly so many.
  std::string label(std::size_t width, bool padded = false) const;
};

inline constexpr int kVerifyAlternatives = 5;  ///< log-probabilities compared per token, beside its own
inline constexpr float kVerifyTemperature = 0.8f;

/// What one case's answer is judged by.
struct VerifyAnswer {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;                              ///< of each token
  std::vector<std::map<std::int32_t, float>> alternatives;  ///< by token id, its own among them

  /// How the chain computed it, when asked: one entry per step.
  struct Step {
    int position = 0;
    int n_rows = 0;
    std::vector<std::uint32_t> checksums;  ///< [layer], of all stages; empty unless asked
  };
  std::vector<Step> steps;
};

/// How alike two answers have to be.
struct VerifyTolerance {
  bool exact = true;
  /// Not exact: natural logarithms may differ by this. Where the reference holds two tokens for closer than twice this,
  /// either may come, and the comparison ends there, since the texts go apart. A seeded draw may turn over anywhere.
  float logprob = 0.5f;
};

/// Nothing when `found`, an answer to `asked`, is like `expected`; else where and how they differ, for people.
std::optional<std::string> difference(const VerifyCase& asked, const VerifyAnswer& expected, const VerifyAnswer& found,
                                      const VerifyTolerance& tolerance);

/// The largest distance between log-probabilities of the tokens both answers begin with.
float largest_gap(const VerifyAnswer& expected, const VerifyAnswer& found);

/// Our own texts: short and long, several languages and scripts, code. Each greedy and sampled.
std::vector<VerifyCase> built_in_cases();

/// One prompt per line, each greedy and sampled; empty lines are left out. Errors: kNotFound, kInvalidArgument (none).
Result<std::vector<VerifyCase>> read_cases(const std::string& path);

}  // namespace commissure
