#include "api/cors.h"

#include <algorithm>

#include "core/ascii.h"
#include "net/host.h"

namespace commissure {

namespace {

/// "https://a.example:443" to "a.example": what a scheme implies is left out. Empty for what is no web origin ("null").
std::string authority_of(const std::string& origin) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!origin.starts_with(scheme)) continue;
    std::string authority = lower(origin.substr(scheme.size()));
    const std::string_view port = scheme == "http://" ? ":80" : ":443";
    if (authority.ends_with(port)) authority.resize(authority.size() - port.size());
    return authority;
  }
  return "";
}

}  // namespace

bool is_allowed_origin(const HttpRequest& request, const std::vector<std::string>& origins) {
  const std::string* origin = request.header("origin");
  if (origin == nullptr) return true;
  const auto names = [&](const std::string& named) { return named == "*" || named == *origin; };
  if (std::ranges::any_of(origins, names)) return true;
  const std::string authority = authority_of(*origin);
  if (authority.empty()) return false;
  if (is_loopback(host_of(authority))) return true;
  // A proxy that ends TLS hands the host on as the browser wrote it, so the schemes may differ.
  const std::string* host = request.header("host");
  return host != nullptr &&
         (authority == authority_of("http://" + *host) || authority == authority_of("https://" + *host));
}

bool is_allowed_host(const HttpRequest& request, const std::vector<std::string>& names) {
  const std::string* field = request.header("host");
  if (field == nullptr || field->empty()) return true;
  std::string host = lower(std::string(host_of(*field)));
  if (host.ends_with('.')) host.pop_back();  // the root of all names, written out
  if (host.empty()) return false;            // "[evil", ":80"
  if (is_loopback(host) || host.ends_with(".localhost")) return true;
  if (host.find_first_of(".:") == std::string::npos) return true;
  return std::ranges::any_of(names, [&](const std::string& name) { return name == "*" || lower(name) == host; });
}

HttpHeaders cors_headers(const HttpRequest& request, const std::vector<std::string>& origins) {
  const std::string* origin = request.header("origin");
  if (origin == nullptr) return {};
  if (!is_allowed_origin(request, origins)) return {{"vary", "origin"}};
  HttpHeaders headers = {{"access-control-allow-origin", *origin},
                         {"access-control-expose-headers", "x-request-id, retry-after"},
                         {"vary", "origin"}};
  if (request.method == "OPTIONS") {
    const std::string* wanted = request.header("access-control-request-headers");
    headers.emplace_back("access-control-allow-methods", "GET, HEAD, POST, OPTIONS");
    headers.emplace_back("access-control-allow-headers", wanted != nullptr ? *wanted : "authorization, content-type");
    headers.emplace_back("access-control-max-age", "86400");
  }
  return headers;
}

}  // namespace commissure
