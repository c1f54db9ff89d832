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
  std::vector<TokenId> prompt;  ///< tokens of `text`, by the reference's tokenizer

  /// The case as a request to the reference's engine.
  GenerationRequest request(int max_tokens) const;
  /// The case's name in tables, "Once upon a time there ... (sampled)": at most `width` columns, or exactly `width`
  /// when `padded`.
  std::string label(std::size_t width, bool padded = false) const;
};

inline constexpr int kVerifyAlternatives = 5;  ///< other tokens whose log-probabilities are compared too
inline constexpr float kVerifyTemperature = 0.8f;

/// One case's answer, as far as it is compared.
struct VerifyAnswer {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;                              ///< of each token
  std::vector<std::map<std::int32_t, float>> alternatives;  ///< of each token, by token id, its own among them

  /// How the chain computed the answer, when asked for: one entry per step.
  struct Step {
    int position = 0;
    int n_rows = 0;
    std::vector<std::uint32_t> checksums;  ///< of the rows after each layer, [n_layers]; empty unless asked for
  };
  std::vector<Step> steps;
};

/// How alike two answers have to be.
struct VerifyTolerance {
  bool exact = true;
  /// When not exact: log-probabilities (natural) may differ by this much. Where the reference's log-probabilities of
  /// two tokens are closer than twice this, either token may come; the comparison ends there, since the texts differ
  /// from then on. A seeded draw may come out otherwise anywhere.
  float logprob = 0.5f;
};

/// Compares `found`, an answer to `asked`, with `expected`: nothing when they are alike within `tolerance`, else where
/// and how they differ, as text for people.
std::optional<std::string> difference(const VerifyCase& asked, const VerifyAnswer& expected, const VerifyAnswer& found,
                                      const VerifyTolerance& tolerance);

/// The largest difference between the two answers' log-probabilities, over the tokens that both begin with.
float largest_gap(const VerifyAnswer& expected, const VerifyAnswer& found);

/// The built-in prompts: short and long, in several languages and scripts, and code; each greedy and sampled.
std::vector<VerifyCase> built_in_cases();

/// Reads a file with one prompt per line, each greedy and sampled; empty lines are left out. Errors: kNotFound;
/// kInvalidArgument, the file has no prompt.
Result<std::vector<VerifyCase>> read_cases(const std::string& path);

}  // namespace commissure
