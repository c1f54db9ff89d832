#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/json.h"
#include "core/result.h"
#include "hub/model_store.h"
#include "kernels/backend.h"
#include "model/decoder.h"
#include "stage/kv_pool.h"
#include "text/tokenizer.h"
#include "weights/checkpoint.h"

namespace commissure {

struct EvaluationOptions {
  int context = 512;  ///< tokens of a window, at least 2
  std::string quant;  ///< of the model, not of the one it is compared with
  std::string precision = "exact";
  std::string isa;
  int n_threads = 0;
};

/// How two rows of logits are apart, and what one of them says of the next token.
struct RowScore {
  double logprob = 0;  ///< natural, of the target
  int best = -1;       ///< the likeliest token, the lower one of equals
};
/// Errors: kInternal, a logit is not a number.
Result<RowScore> score_row(std::span<const float> logits, int target);
/// sum p (log p - log q) over the vocabulary, in nats.
double divergence(std::span<const float> p_logits, std::span<const float> q_logits);

/// What a text was found to be to a model.
struct Evaluation {
  std::int64_t n_tokens = 0;
  double logprob = 0;  ///< of all tokens together
  double logprob_against = 0, divergence = 0;
  std::int64_t n_same = 0;  ///< tokens before which both models hold the same one likeliest
  bool is_compared = false;

  double perplexity() const;
  double perplexity_against() const;
  Json to_json() const;
};

/// A whole model in this process, which computes windows of a text.
/// Threading: one thread.
class WindowModel {
 public:
  static Result<std::unique_ptr<WindowModel>> load(const LocalModel& model, const std::string& quant,
                                                   const EvaluationOptions& options);

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  Backend& backend() { return *backend_; }
  int n_vocab() const { return spec_.n_vocab; }
  const std::string& fingerprint() const { return fingerprint_; }

  /// Computes all layers for a window, which begins at position 0. Errors: kInvalidArgument, a token that the model
  /// does not have.
  Status run(std::span<const TokenId> window);
  /// Logits of the window's rows [first, first + n), at most kRows of them, until the next call.
  Result<std::span<const float>> logits(int first, int n);
  static constexpr int kRows = 16;

 private:
  WindowModel() = default;

  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Backend> backend_;
  DecoderSpec spec_;
  std::shared_ptr<const Tokenizer> tokenizer_;  // shared: as read_served_model makes it
  std::string fingerprint_;
  std::unique_ptr<Decoder> decoder_;
  std::optional<KvPool> kv_;
  DeviceBuffer logits_;  // [kRows, n_vocab]
};

/// The windows of a text, of at most `context` tokens: each begins with what the tokenizer puts before a text; what it
/// puts behind one is left out. Errors: kInvalidArgument, a window would have no room for a token of the text.
Result<std::vector<std::vector<TokenId>>> windows_of(const Tokenizer& tokenizer, std::string_view text, int context);

/// Scores every token of the windows but each one's first. `against` may be null. `on_tokens` gets the number of tokens
/// so far. Errors: kInvalidArgument, the two have vocabularies of different sizes (what their tokens spell is not
/// compared), or not the windows' tokens; kInternal, a model computes no numbers.
Result<Evaluation> evaluate(WindowModel& model, WindowModel* against, const std::vector<std::vector<TokenId>>& windows,
                            const std::function<void(std::int64_t n_tokens)>& on_tokens);

}  // namespace commissure
