#include "core/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <memory>
#include <mutex>

namespace commissure {

namespace {

struct Transfer {
  HttpReply response;
  const HttpReceiver* receiver;
  bool refused = false;
};

std::size_t on_header(char* data, std::size_t size, std::size_t n, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  std::string_view line(data, size * n);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {  // a new response begins: after a redirect or a 100
    transfer.response.headers.clear();
    const auto space = line.find(' ');
    transfer.response.status =
        space == std::string_view::npos ? 0 : std::atoi(std::string(line.substr(space + 1, 3)).c_str());
    return size * n;
  }
  const auto colon = line.find(':');
  if (colon != std::string_view::npos) {
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    auto value = line.substr(colon + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    transfer.response.headers[name] = std::string(value);
  }
  return size * n;
}

std::size_t on_body(char* data, std::size_t size, std::size_t n, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view piece(data, size * n);
  if (!*transfer.receiver) {
    transfer.response.body.append(piece);
    return piece.size();
  }
  if ((*transfer.receiver)(transfer.response, piece)) return piece.size();
  transfer.refused = true;
  return 0;
}

Error failure(CURLcode code, const HttpFetch& request, const char* detail) {
  const std::string where = public_url(request.url);
  const std::string_view why = *detail != '\0' ? detail : curl_easy_strerror(code);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return Error(Code::kDeadlineExceeded, where, ": no answer in time");
    case CURLE_COULDNT_RESOLVE_HOST:
      return Error(Code::kUnavailable, where, ": the host name is not known here (no network?)");
    case CURLE_COULDNT_CONNECT: return Error(Code::kUnavailable, where, ": nothing answers there");
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING: return Error(Code::kDataLoss, where, ": the answer was cut short (", why, ")");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return Error(Code::kInvalidArgument, where, ": not an http or https address");
    default: return Error(Code::kUnavailable, where, ": ", why);
  }
}

void set_timeouts(CURL* curl, const HttpFetch& request) {
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  const long stall = std::max<long>(1, std::chrono::duration_cast<std::chrono::seconds>(request.stall_timeout).count());
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, stall);
}

void set_trust(CURL* curl) {
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (const char* file = std::getenv(name); file != nullptr && *file != '\0') {
      curl_easy_setopt(curl, CURLOPT_CAINFO, file);
      return;
    }
  }
}

}  // namespace

std::string public_url(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return std::string(url);
  const auto host = scheme + 3;
  const auto at = url.substr(host, url.find('/', host) - host).rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  return std::string(url.substr(0, host)) + std::string(url.substr(host + at + 1));
}

Result<HttpReply> http_fetch(const HttpFetch& request, const HttpReceiver& receiver) {
  static std::once_flag started;
  std::call_once(started, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle(curl_easy_init(), curl_easy_cleanup);
  if (!handle) return Error(Code::kResourceExhausted, "no memory for an HTTP transfer");
  CURL* curl = handle.get();
  Transfer transfer{{}, &receiver};
  std::string detail(CURL_ERROR_SIZE, '\0');

  curl_slist* list = nullptr;
  for (const auto& [name, value] : request.headers) list = curl_slist_append(list, (name + ": " + value).c_str());
  list = curl_slist_append(list, "Expect:");  // no wait for 100-continue
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(list, curl_slist_free_all);

  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (request.method == "HEAD") curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  if (!request.body.empty() || request.method == "POST") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
  }
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, request.follow_redirects ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 8L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail.data());
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  set_timeouts(curl, request);
  set_trust(curl);

  const CURLcode code = curl_easy_perform(curl);
  if (transfer.refused) return Error(Code::kCancelled, public_url(request.url), ": the transfer was ended here");
  if (code != CURLE_OK) return failure(code, request, detail.c_str());
  return std::move(transfer.response);
}

}  // namespace commissure
