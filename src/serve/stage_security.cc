#include "serve/stage_security.h"

#include "core/ascii.h"

namespace commissure {

namespace {

constexpr const char* kGoogleKeys = "https://www.googleapis.com/oauth2/v3/certs";

bool wants_identity(const SecuritySettings& settings) {
  return settings.identity == "metadata" || (settings.identity == "auto" && settings.on_platform);
}

}  // namespace

void apply_environment(const Environment& environment, SecuritySettings& settings) {
  const auto take = [&](const char* name, std::string& field) {
    if (const auto text = environment(name)) field = *text;
  };
  const auto take_list = [&](const char* name, std::vector<std::string>& field) {
    if (const auto text = environment(name)) field = split_list(*text);
  };
  take("COMMISSURE_IDENTITY", settings.identity);
  take("COMMISSURE_TLS_CERT", settings.tls_certificate);
  take("COMMISSURE_TLS_KEY", settings.tls_key);
  take("COMMISSURE_IDENTITY_KEYS", settings.identity_keys);
  take_list("COMMISSURE_REQUIRE_IDENTITY", settings.audiences);
  take_list("COMMISSURE_ALLOWED_CALLERS", settings.callers);
  settings.on_platform = environment("K_SERVICE").has_value();
}

Status validate(const SecuritySettings& settings) {
  const auto invalid = [](auto&&... parts) { return Error(Code::kInvalidArgument, parts...); };
  if (settings.identity != "auto" && settings.identity != "none" && settings.identity != "metadata") {
    return invalid("--identity (COMMISSURE_IDENTITY) is \"", settings.identity,
                   "\"; it must be auto, none or metadata");
  }
  if (settings.tls_certificate.empty() != settings.tls_key.empty()) {
    return invalid("TLS needs both --tls-cert (COMMISSURE_TLS_CERT) and --tls-key (COMMISSURE_TLS_KEY)");
  }
  if (settings.audiences.empty() != settings.callers.empty()) {
    return invalid(
        "to let only some callers in, set both --require-identity (COMMISSURE_REQUIRE_IDENTITY: this stage's "
        "URLs) and --allowed-callers (COMMISSURE_ALLOWED_CALLERS)");
  }
  if (!settings.audiences.empty() && settings.identity_keys.empty() && !settings.on_platform) {
    return invalid(
        "--require-identity needs --identity-keys (COMMISSURE_IDENTITY_KEYS) here: outside Cloud Run nobody "
        "has checked the tokens' signatures; Google's keys: https://www.googleapis.com/oauth2/v3/certs");
  }
  if (settings.audiences.empty() && !settings.identity_keys.empty()) {
    return invalid("--identity-keys (COMMISSURE_IDENTITY_KEYS) does nothing without --require-identity");
  }
  return {};
}

std::vector<std::pair<std::string, std::string>> describe(const SecuritySettings& settings) {
  return {
      {"identity", wants_identity(settings) ? "metadata" : "none"},
      {"tls", settings.tls_certificate.empty() ? "no" : "yes"},
      {"callers", settings.callers.empty() ? "any" : std::to_string(settings.callers.size())},
  };
}

Result<ClientSecurity> client_security(const SecuritySettings& settings, const Endpoint& next, MetadataServer& tokens) {
  ClientSecurity security;
  if (!next.tls) {
    if (settings.identity != "metadata") return security;
    return Error(Code::kInvalidArgument,
                 "--identity metadata needs an https endpoint: a token is never sent in the "
                 "clear, and ",
                 next.target, " is plaintext");
  }
  security.roots = TRY(own_root_certificates());
  // Shared: by the link, the client for questions, and gRPC.
  if (wants_identity(settings)) security.identity = std::make_shared<CallerIdentity>(tokens, next.base_url);
  return security;
}

Result<ServerSecurity> server_security(const SecuritySettings& settings) {
  ServerSecurity security;
  if (!settings.tls_certificate.empty()) {
    security.tls = TRY(read_tls_pair(settings.tls_certificate, settings.tls_key));
  }
  if (!settings.audiences.empty()) {
    IdentityRules rules;
    rules.audiences = settings.audiences;
    rules.callers = settings.callers;
    rules.keys = settings.identity_keys.empty() && settings.on_platform ? kGoogleKeys : settings.identity_keys;
    rules.may_be_stripped = settings.on_platform;
    security.callers = TRY(IdentityCheck::create(std::move(rules)));
  }
  return security;
}

}  // namespace commissure
