#include "net/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>
#include <vector>

#include "core/ascii.h"
#include "core/guarded.h"
#include "core/scarce.h"
#include "net/host.h"

namespace commissure {

namespace {

constexpr long kReceiveBytes = 256L << 10;  // at once: a fast line brings more than curl's own 16 KiB

struct Transfer {
  HttpReply response;
  const HttpFetch* request;
  const HttpReceiver* receiver;
  bool refused = false;
  bool too_long = false;
  std::exception_ptr thrown = nullptr;  ///< by a callback
};

/// What curl calls gives `failed`, which ends the exchange, where it throws: curl's own frames know no exceptions.
template <typename Answer, typename Action>
Answer kept_from_curl(Transfer& transfer, Answer failed, Action&& action) noexcept {
  try {
    return action();
  } catch (...) {
    transfer.thrown = std::current_exception();
    return failed;
  }
}

using Handle = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

void take_header(Transfer& transfer, std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {  // a new response begins: after a redirect or a 100
    transfer.response.headers.clear();
    const auto space = line.find(' ');
    transfer.response.status =
        space == std::string_view::npos ? 0 : std::atoi(std::string(line.substr(space + 1, 3)).c_str());
    return;
  }
  const auto colon = line.find(':');
  if (colon != std::string_view::npos) {
    const std::string name = lower(std::string(line.substr(0, colon)));
    auto value = line.substr(colon + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    transfer.response.headers[name] = std::string(value);
  }
}

std::size_t on_header(char* data, std::size_t size, std::size_t n, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  return kept_from_curl(transfer, std::size_t{0}, [&] {
    take_header(transfer, {data, size * n});
    return size * n;
  });
}

/// Whether it was taken.
bool take_piece(Transfer& transfer, std::string_view piece) {
  if (*transfer.receiver) {
    transfer.refused = !(*transfer.receiver)(transfer.response, piece);
    return !transfer.refused;
  }
  transfer.too_long = piece.size() > transfer.request->max_body_bytes - transfer.response.body.size();
  if (!transfer.too_long) transfer.response.body.append(piece);
  return !transfer.too_long;
}

std::size_t on_body(char* data, std::size_t size, std::size_t n, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  return kept_from_curl(transfer, std::size_t{0},
                        [&] { return take_piece(transfer, {data, size * n}) ? size * n : std::size_t{0}; });
}

bool is_of_this_machine(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return false;
  return is_loopback(host_of(url.substr(scheme + 3, url.find_first_of("/?#", scheme + 3) - scheme - 3)));
}

Error failure(CURLcode code, const HttpFetch& request, const char* detail) {
  const std::string where = public_url(request.url);
  const std::string_view why = *detail != '\0' ? detail : curl_easy_strerror(code);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return Error(Code::kDeadlineExceeded, where, ": no answer in time");
    case CURLE_COULDNT_RESOLVE_HOST:
      return Error(Code::kUnavailable, where, ": the host name is not known here (no network?)");
    case CURLE_COULDNT_CONNECT: return Error(Code::kUnavailable, where, ": nothing answers there");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return Error(Code::kUnavailable, where, ": its certificate is not trusted here (", why,
                   "); set SSL_CERT_FILE to the right certificates");
    case CURLE_TOO_MANY_REDIRECTS: return Error(Code::kUnavailable, where, ": redirects without end");
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING: return Error(Code::kDataLoss, where, ": the answer was cut short (", why, ")");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return Error(Code::kInvalidArgument, where, ": not an http or https address");
    default: return Error(Code::kUnavailable, where, ": ", why);
  }
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(user);
  return kept_from_curl(transfer, 1, [&] { return transfer.request->is_cancelled() ? 1 : 0; });
}

/// curl asks at every turn of its loop, also while nothing comes.
void set_cancelling(CURL* curl, Transfer& transfer) {
  if (!transfer.request->is_cancelled) return;
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
}

void set_timeouts(CURL* curl, const HttpFetch& request) {
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  const long stall = std::max<long>(1, std::chrono::duration_cast<std::chrono::seconds>(request.stall_timeout).count());
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, stall);
}

void set_trust(CURL* curl) {
  if (const char* file = trust_file()) curl_easy_setopt(curl, CURLOPT_CAINFO, file);
}

}  // namespace

const char* trust_file() {
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (const char* file = std::getenv(name); file != nullptr && *file != '\0') return file;
  }
  return nullptr;
}

std::string public_url(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return std::string(url);
  const auto host = scheme + 3;
  const auto at = url.substr(host, url.find('/', host) - host).rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  return std::string(url.substr(0, host)) + std::string(url.substr(host + at + 1));
}

namespace {

Handle new_handle() {
  [[maybe_unused]] static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);  // once a process
  return {curl_easy_init(), curl_easy_cleanup};
}

/// The request's headers as curl takes them; null where there is no memory for all of them.
std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> header_list(const HttpFetch& request) {
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> list(nullptr, curl_slist_free_all);
  const auto add = [&](const std::string& header) {
    curl_slist* const longer = curl_slist_append(list.get(), header.c_str());
    if (longer == nullptr) return false;
    (void)list.release();  // the longer one is the same, or begins it
    list.reset(longer);
    return true;
  };
  for (const auto& [name, value] : request.headers) {
    if (!add(name + ": " + value)) return {nullptr, curl_slist_free_all};
  }
  if (!add("Expect:")) return {nullptr, curl_slist_free_all};  // no wait for 100-continue
  return list;
}

void set_request(CURL* curl, const HttpFetch& request) {
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (request.method == "HEAD") curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  if (!request.body.empty() || request.method == "POST") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
  }
  // A credential sent by https must not follow a redirect into the clear.
  const bool is_https = request.url.starts_with("https:");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, is_https ? "https" : "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, request.follow_redirects ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 8L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  // This machine's own services are never behind a proxy, whatever no_proxy forgets.
  if (!request.use_proxy || is_of_this_machine(request.url)) curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
}

Result<HttpReply> try_exchange(CURL* curl, const HttpFetch& request, const HttpReceiver& receiver) {
  Transfer transfer{{}, &request, &receiver};
  std::string detail(CURL_ERROR_SIZE, '\0');
  const auto headers = header_list(request);
  if (!headers) return no_memory();
  set_request(curl, request);
  set_timeouts(curl, request);
  set_cancelling(curl, transfer);
  set_trust(curl);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail.data());
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  if (receiver) curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, kReceiveBytes);

  const CURLcode code = curl_easy_perform(curl);
  curl_easy_reset(curl);  // keeps the connection, forgets the pointers above
  if (transfer.thrown) std::rethrow_exception(transfer.thrown);
  const bool is_ended_here = transfer.refused || code == CURLE_ABORTED_BY_CALLBACK;
  if (is_ended_here) return Error(Code::kCancelled, public_url(request.url), ": the transfer was ended here");
  if (transfer.too_long) {
    return Error(Code::kResourceExhausted, public_url(request.url), ": the answer is longer than ",
                 request.max_body_bytes, " bytes");
  }
  if (code != CURLE_OK) return failure(code, request, detail.c_str());
  return std::move(transfer.response);
}

Result<HttpReply> exchange(CURL* curl, const HttpFetch& request, const HttpReceiver& receiver) {
  return unless_scarce([&] { return try_exchange(curl, request, receiver); },
                       []() -> Result<HttpReply> { return no_memory(); });
}

}  // namespace

struct HttpClient::Connections {
  Guarded<std::vector<Handle>> idle;
};

HttpClient::HttpClient() : connections_(std::make_unique<Connections>()) {}
HttpClient::~HttpClient() = default;

Result<HttpReply> HttpClient::fetch(const HttpFetch& request, const HttpReceiver& receiver) {
  Handle handle = connections_->idle.with([](std::vector<Handle>& idle) {
    if (idle.empty()) return new_handle();
    Handle last = std::move(idle.back());
    idle.pop_back();
    return last;
  });
  if (!handle) return no_memory();
  auto reply = exchange(handle.get(), request, receiver);
  done_unless_scarce([&] {  // else this one is closed
    connections_->idle.with([&](std::vector<Handle>& idle) { idle.push_back(std::move(handle)); });
  });
  return reply;
}

Result<HttpReply> http_fetch(const HttpFetch& request, const HttpReceiver& receiver) {
  const Handle handle = new_handle();
  if (!handle) return no_memory();
  return exchange(handle.get(), request, receiver);
}

std::string percent_encoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '~') {
      encoded.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(encoded), "%{:02X}", byte);
    }
  }
  return encoded;
}

Error http_status_error(std::string_view url, int status) {
  const std::string where = public_url(url);
  switch (status) {
    case 401: return Error(Code::kUnauthenticated, where, ": needs a valid credential (HTTP 401)");
    case 403: return Error(Code::kPermissionDenied, where, ": access is denied (HTTP 403)");
    case 404: return Error(Code::kNotFound, where, ": does not exist (HTTP 404)");
    case 416: return Error(Code::kOutOfRange, where, ": is shorter than the range asked for (HTTP 416)");
    case 429: return Error(Code::kResourceExhausted, where, ": too many requests, try again later (HTTP 429)");
    default: break;
  }
  if (status >= 500) return Error(Code::kUnavailable, where, ": the server fails (HTTP ", status, ")");
  return Error(Code::kInvalidArgument, where, ": answered with HTTP ", status);
}

}  // namespace commissure
