#include "net/metadata_server.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

namespace commissure {

namespace {

using std::chrono::seconds;

// Google's server hands out a new token only in the last five minutes of the old one.
constexpr seconds kRenewBefore{225};
constexpr std::chrono::milliseconds kPauseBetweenAttempts{100};

std::string base_url(const std::string& chosen) {
  std::string host = chosen;
  if (host.empty()) {
    const char* const variable = std::getenv("GCE_METADATA_HOST");
    host = variable != nullptr && *variable != '\0' ? variable : "metadata.google.internal";
  }
  return "http://" + host + "/computeMetadata/v1/instance/service-accounts/default/";
}

bool is_worth_another_try(const Error& error) {
  return error.code() == Code::kUnavailable || error.code() == Code::kDeadlineExceeded ||
         error.code() == Code::kDataLoss || error.code() == Code::kResourceExhausted;
}

}  // namespace

MetadataServer::MetadataServer(MetadataServerOptions options)
    : options_(std::move(options)), base_(base_url(options_.host)) {}

Result<std::string> MetadataServer::access_token() { return token("token", read_access_token); }

Result<std::string> MetadataServer::identity_token(const std::string& audience) {
  return token("identity?audience=" + percent_encoded(audience) + "&format=full", read_identity_token);
}

void MetadataServer::forget(const std::string& refused) {
  tokens_.with([&](auto& tokens) { std::erase_if(tokens, [&](const auto& it) { return it.second.text == refused; }); });
}

Result<std::string> MetadataServer::token(const std::string& path, Read read) {
  const auto find = [&]() -> std::optional<Token> {
    return tokens_.with([&](const auto& tokens) {
      const auto it = tokens.find(path);
      return it == tokens.end() ? std::nullopt : std::optional<Token>(it->second);
    });
  };
  if (const auto kept = find(); kept && options_.now() < kept->renew) return kept->text;
  const auto asked = std::chrono::steady_clock::now();
  const MutexLock lock(fetching_);
  const auto kept = find();
  if (kept && options_.now() < kept->renew) return kept->text;
  // Of many that wait for a server that is away, one waits for its timeouts.
  if (failure_ && failure_->path == path && failure_->at > asked) return failure_->error;
  const auto fresh = fetch_token(path, read);
  if (fresh) {
    tokens_.with([&](auto& tokens) { tokens.insert_or_assign(path, *fresh); });
    return fresh->text;
  }
  if (kept && options_.now() < kept->expires) return kept->text;
  failure_ = Failure{path, std::chrono::steady_clock::now(), fresh.error()};
  return fresh.error();
}

Result<MetadataServer::Token> MetadataServer::fetch_token(const std::string& path, Read read) {
  const std::string body = TRY(fetch(path));
  const Time now = options_.now();
  const GivenToken given = TRY(read(body, now));
  if (given.expires <= now) {
    return Error(Code::kDataLoss, public_url(base_ + path), ": the token has expired already; is this clock right?");
  }
  // A token that is short-lived by itself is used for half of its life.
  const Time renew = given.expires - std::min<Time::duration>(kRenewBefore, (given.expires - now) / 2);
  return Token{given.text, given.expires, renew};
}

Result<std::string> MetadataServer::fetch(const std::string& path) {
  HttpFetch request;
  request.url = base_ + path;
  request.headers = {{"Metadata-Flavor", "Google"}};
  request.connect_timeout = request.timeout = options_.timeout;
  request.follow_redirects = false;
  request.use_proxy = false;
  request.max_body_bytes = 64 << 10;
  const std::string where = public_url(request.url);
  for (int attempt = 1;; ++attempt) {
    auto reply = http_.fetch(request);
    if (reply && reply->status == 200) return std::move(reply->body);
    if (reply && reply->status == 404) return Error(Code::kNotFound, where, ": this machine has no service account");
    const Error error = reply ? http_status_error(request.url, reply->status) : reply.error();
    if (attempt >= options_.n_attempts || !is_worth_another_try(error)) {
      if (reply) return error;
      return Error(error.code(), error.message(), "; tokens need Google Cloud's metadata server (GCE_METADATA_HOST)");
    }
    std::this_thread::sleep_for(kPauseBetweenAttempts * attempt);
  }
}

}  // namespace commissure
