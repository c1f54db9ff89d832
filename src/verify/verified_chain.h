#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "client/client.h"
#include "local/local_state.h"
#include "verify/verify_case.h"

namespace commissure {

/// A stage of the deployed chain, as far as the comparison needs it.
struct VerifiedStage {
  std::string name;
  int first_layer = 0;
  int last_layer = 0;  ///< one past the stage's last layer
  std::string model, device, isa, precision, kv_dtype, fingerprint;
};

/// The deployed chain, asked through its API. Threading: any thread.
class VerifiedChain {
 public:
  explicit VerifiedChain(ApiAddress endpoint) : endpoint_(std::move(endpoint)) {}

  const ApiAddress& endpoint() const { return endpoint_; }

  /// Errors: as exchange_json; kUnavailable, a stage does not answer.
  Result<std::vector<VerifiedStage>> stages() const;

  /// Answers one case. `trace` is what the answer's steps tell: nothing (""), "times" or "layers" (with checksums).
  /// `on_token` gets the number of tokens so far.
  /// Errors: the server's message; kDataLoss, the answer cannot be read.
  Result<VerifyAnswer> ask(const VerifyCase& asked, int max_tokens, const std::string& trace,
                           const std::function<void(int)>& on_token) const;

  /// Answers all cases, `n_at_once` at the same time. The callbacks are called on several threads: `on_token` as in
  /// ask(), `on_done` after each case.
  Result<std::vector<VerifyAnswer>> ask_all(const std::vector<VerifyCase>& cases, int max_tokens,
                                            const std::string& trace, int n_at_once,
                                            const std::function<void(int)>& on_token,
                                            const std::function<void()>& on_done) const;

 private:
  const ApiAddress endpoint_;
};

/// Makes a local chain lose the boundary stream into stage `index` (1 and up) while all its processes live: a newer
/// stream, which counts on no rows, replaces the old one and ends at once. Stage `index` and the stages behind it then
/// compute their rows again. Errors: kUnavailable, the stage cannot be reached or refuses.
Status break_stream(const LocalState& state, int index);

}  // namespace commissure
