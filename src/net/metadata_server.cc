#include "net/metadata_server.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <thread>

#include "core/json.h"
#include "net/jwt.h"

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
  Token fresh = TRY(read(body, now));
  if (fresh.expires <= now) {
    return Error(Code::kDataLoss, public_url(base_ + path), ": the token has expired already; is this clock right?");
  }
  // A token that is short-lived by itself is used for half of its life.
  fresh.renew = fresh.expires - std::min<Time::duration>(kRenewBefore, (fresh.expires - now) / 2);
  return fresh;
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

Result<MetadataServer::Token> MetadataServer::read_access_token(const std::string& body, Time now) {
  const auto json = parse_json(body, 8);  // its error would quote the answer
  const Json* const text = json ? find_member(*json, "access_token") : nullptr;
  const Json* const left = json ? find_member(*json, "expires_in") : nullptr;
  if (text == nullptr || !text->is_string() || left == nullptr || !left->is_number_integer()) {
    return Error(Code::kDataLoss, "the metadata server's answer has no access_token and expires_in");
  }
  const auto lifetime = std::clamp<std::int64_t>(left->get<std::int64_t>(), 0, 86'400);
  return Token{text->get<std::string>(), now + seconds(lifetime), now};
}

Result<MetadataServer::Token> MetadataServer::read_identity_token(const std::string& body, Time now) {
  std::string text = body;
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  const auto jwt = parse_jwt(text);
  if (!jwt) return Error(Code::kDataLoss, "the metadata server's identity token: ", jwt.error().message());
  const auto expires = jwt->expires();
  if (!expires) return Error(Code::kDataLoss, "the metadata server's identity token has no expiry (exp)");
  return Token{std::move(text), *expires, now};
}

}  // namespace commissure
