#include "wire/identity_check.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>
#include <utility>

#include "core/log.h"
#include "core/mutex.h"
#include "core/scarce.h"
#include "net/http.h"
#include "net/jwks.h"
#include "net/jwt.h"

namespace commissure {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr seconds kClockSkew{30};
constexpr seconds kRefreshEvery{3600};
constexpr seconds kRefreshPause{60};  // between two tokens with unknown keys that cause a look
constexpr seconds kRetryPause{10};
constexpr std::string_view kBearer = "Bearer ";
constexpr std::string_view kStripped = ".SIGNATURE_REMOVED_BY_GOOGLE";  // what Cloud Run leaves of a checked signature

bool is_url(const std::string& text) { return text.starts_with("https://") || text.starts_with("http://"); }

Result<Jwks> read_keys(const std::string& source) {
  std::string text;
  if (is_url(source)) {
    HttpReply reply = TRY(http_fetch({.url = source, .timeout = seconds(10), .max_body_bytes = 1 << 20}));
    if (reply.status != 200) return http_status_error(source, reply.status);
    text = std::move(reply.body);
  } else {
    std::ifstream file(source, std::ios::binary);
    text.assign(std::istreambuf_iterator<char>(file), {});
    if (!file && text.empty()) return Error(Code::kNotFound, "cannot read the key set ", source);
  }
  auto keys = Jwks::parse(text);
  if (!keys) return keys.error().within(is_url(source) ? public_url(source) : source);
  return keys;
}

bool holds(const std::vector<std::string>& list, const std::string& text) {
  return std::ranges::find(list, text) != list.end();
}

Error refused(std::string_view why) { return Error(Code::kUnauthenticated, why); }

/// Whether a claim is a whole number up to `most`; one beyond 63 bits is not to become a negative one.
bool is_at_most(const Json& claim, std::int64_t most) {
  if (claim.is_number_unsigned()) return std::cmp_less_equal(claim.get<std::uint64_t>(), most);
  return claim.is_number_integer() && claim.get<std::int64_t>() <= most;
}

}  // namespace

class IdentityCheck::Keys {
 public:
  /// `on_demand`: the first fetch waits for a token that needs it.
  Keys(std::string source, std::optional<Jwks> first, bool on_demand)
      : source_(std::move(source)), on_demand_(on_demand), keys_(std::move(first)) {
    if (keys_) fetched_ = Clock::now();
    thread_ = std::jthread([this](const std::stop_token& stop) { keep_fresh(stop); });
  }

  Status verify(const Jwt& token) {
    const MutexLock lock(mutex_);
    if (keys_ && keys_->has(token.key_id)) return keys_->verify(token);
    if (keys_ && Clock::now() - fetched_ < kRefreshPause) return refused("the token is signed with an unknown key");
    wanted_ = true;
    changed_.notify_all();
    return Error(Code::kUnavailable, "the keys to check tokens with are being fetched, try again");
  }

 private:
  void keep_fresh(const std::stop_token& stop) {
    const MutexLock lock(mutex_);
    while (!stop.stop_requested()) {
      const bool is_due = keys_ ? Clock::now() - fetched_ > kRefreshEvery : !on_demand_;
      if (wanted_ || is_due) {
        done_unless_scarce([this]() REQUIRES(mutex_) { fetch(); });  // else a line of the log is missing
      }
      const seconds pause = keys_ ? kRefreshPause : kRetryPause;
      changed_.wait_for(mutex_, stop, pause, [this]() REQUIRES(mutex_) { return wanted_; });
    }
  }

  void fetch() REQUIRES(mutex_) {
    auto fresh = [&]() REQUIRES(mutex_) {
      const MutexUnlock free(mutex_);
      return unless_scarce([&] { return read_keys(source_); },
                           []() -> Result<Jwks> { return no_memory(Code::kUnavailable); });
    }();
    wanted_ = false;
    fetched_ = Clock::now();
    if (fresh) {
      keys_ = std::move(*fresh);
    } else {
      log_warning("the keys to check tokens with were not fetched", {{"error", fresh.error().message()}});
    }
  }

  const std::string source_;
  const bool on_demand_;
  Mutex mutex_;
  StoppableCondition changed_;
  std::optional<Jwks> keys_ GUARDED_BY(mutex_);
  Clock::time_point fetched_ GUARDED_BY(mutex_);  // the last attempt, once there are keys
  bool wanted_ GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

Result<std::unique_ptr<IdentityCheck>> IdentityCheck::create(IdentityRules rules) {
  if (rules.audiences.empty() || rules.callers.empty()) {
    return Error(Code::kInvalidArgument, "to require identity, name this stage's URLs and the accounts that may call");
  }
  std::unique_ptr<Keys> keys;
  if (!rules.keys.empty()) {
    std::optional<Jwks> first;
    if (!is_url(rules.keys)) first = TRY(read_keys(rules.keys));  // a file that is wrong stays wrong
    keys = std::make_unique<Keys>(rules.keys, std::move(first), rules.may_be_stripped);
  }
  return std::unique_ptr<IdentityCheck>(new IdentityCheck(std::move(rules), std::move(keys)));
}

IdentityCheck::IdentityCheck(IdentityRules rules, std::unique_ptr<Keys> keys)
    : rules_(std::move(rules)), keys_(std::move(keys)) {}
IdentityCheck::~IdentityCheck() = default;

Status IdentityCheck::check(std::string_view authorization) {
  if (authorization.empty()) return refused("the call carries no identity token");
  if (!authorization.starts_with(kBearer)) return refused("the call's authorization is no bearer token");
  const auto token = parse_jwt(authorization.substr(kBearer.size()));
  if (!token) return refused(token.error().message());
  const bool is_stripped = rules_.may_be_stripped && authorization.ends_with(kStripped);
  if (keys_ && !is_stripped) TRY(keys_->verify(*token));

  if (!holds(rules_.issuers, token->text("iss"))) return refused("the token is of another issuer");
  if (!holds(rules_.audiences, token->text("aud"))) return refused("the token is for another audience");
  const auto expires = token->expires();
  const auto now = rules_.now();
  if (!expires || now > *expires + kClockSkew) return refused("the token has expired");
  const auto latest = (now + kClockSkew).time_since_epoch() / seconds(1);
  for (const char* const claim : {"iat", "nbf"}) {
    const Json* const begins = find_member(token->claims, claim);
    if (begins != nullptr && !is_at_most(*begins, latest)) {
      return refused("the token is from the future; are the clocks right?");
    }
  }
  const Json* const verified = find_member(token->claims, "email_verified");
  const bool is_verified = verified != nullptr && verified->is_boolean() && verified->get<bool>();
  if (!is_verified || !holds(rules_.callers, token->text("email"))) {
    return Error(Code::kPermissionDenied, "this service account may not call this stage");
  }
  return {};
}

}  // namespace commissure
