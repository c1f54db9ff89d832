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
  int last_layer = 0;  ///< the one after its last
  std::string model, device, isa, precision, kv_dtype, fingerprint;
};

/// The deployed chain, asked through its API. Threading: any thread.
class VerifiedChain {
 public:
  explicit VerifiedChain(ApiAddress endpoint) : endpoint_(std::move(endpoint)) {}

  const ApiAddress& endpoint() const { return endpoint_; }

  /// Errors: as exchange_json; kUnavailable, a stage is not there.
  Result<std::vector<VerifiedStage>> stages() const;

  /// `trace`: "", "times" or "layers". `on_token` gets the number of tokens so far.
  /// Errors: the server's message; kDataLoss, the answer cannot be read.
  Result<VerifyAnswer> ask(const VerifyCase& asked, int max_tokens, const std::string& trace,
                           const std::function<void(int)>& on_token) const;

  /// All cases, `n_at_once` of them at the same time. The callbacks come from several threads.
  Result<std::vector<VerifyAnswer>> ask_all(const std::vector<VerifyCase>& cases, int max_tokens,
                                            const std::string& trace, int n_at_once,
                                            const std::function<void(int)>& on_token,
                                            const std::function<void()>& on_done) const;

 private:
  const ApiAddress endpoint_;
};

/// Makes a local chain lose the boundary stream into stage `index` (1 and up) while all its processes live: a newer
/// stream, which counts on no rows, replaces the old one and ends at once. The stages from there on compute their rows
/// again. Errors: kUnavailable, the stage cannot be reached or refuses.
Status break_stream(const LocalState& state, int index);

}  // namespace commissure
