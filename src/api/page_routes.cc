#include "api/api_call.h"

namespace commissure {

namespace {

/// The page loads what this server gives and nothing else, and no page of others shows it in a frame. Scripts are files
/// of it alone, so that none in an answer of the model could run.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

bool header_has(const HttpRequest& request, std::string_view name, std::string_view word) {
  const std::string* const value = request.header(name);
  return value != nullptr && value->find(word) != std::string::npos;
}

}  // namespace

/// "/" is the list of endpoints for programs, and the page for browsers, which ask for HTML.
const PageFile* ApiService::page_file(const HttpRequest& request) const {
  if (options_.page.empty() || (request.method != "GET" && request.method != "HEAD")) return nullptr;
  if (request.path == "/" && !header_has(request, "accept", "text/html")) return nullptr;
  return find_page_file(options_.page, request.path);
}

void ApiService::send_page_file(Call& call, const PageFile& file) const {
  HttpResponse response{.content_type = std::string(file.content_type)};
  response.headers = {{"etag", std::string(file.etag)},
                      {"cache-control", file.is_immutable ? "public, max-age=31536000, immutable" : "no-cache"},
                      {"vary", "accept, accept-encoding"},
                      {"x-content-type-options", "nosniff"},
                      {"referrer-policy", "no-referrer"},
                      {"content-security-policy", std::string(kPolicy)}};
  if (header_has(call.request, "if-none-match", file.etag)) {
    response.status = 304;
  } else if (header_has(call.request, "accept-encoding", "gzip")) {
    response.headers.emplace_back("content-encoding", "gzip");
    response.body = file.packed();
  } else {
    auto plain = unpacked(file);
    if (!plain) return call.fail(to_api_error(plain.error()));
    response.body = std::move(*plain);
  }
  call.responder->send(std::move(response));
}

}  // namespace commissure
