#include "net/public_fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "core/ascii.h"
#include "core/scarce.h"
#include "net/http.h"

namespace commissure {

namespace {

constexpr int kMostRedirects = 3;
constexpr std::chrono::milliseconds kConnectTimeout{5'000};
constexpr std::size_t kMostUrlBytes = 8 << 10;
constexpr int kFirstFreePort = 1024;

struct Block {
  std::uint32_t begin;
  int n_bits;
  AddressKind kind;
};

constexpr std::uint32_t ip(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

/// IANA's special-purpose registry, and what clouds put beside it.
constexpr std::array kBlocks{
    Block{ip(0, 0, 0, 0), 8, AddressKind::kNever},          Block{ip(10, 0, 0, 0), 8, AddressKind::kPrivate},
    Block{ip(100, 100, 100, 200), 32, AddressKind::kNever},  // a metadata service
    Block{ip(100, 64, 0, 0), 10, AddressKind::kPrivate},    Block{ip(127, 0, 0, 0), 8, AddressKind::kPrivate},
    Block{ip(168, 63, 129, 16), 32, AddressKind::kNever},  // another
    Block{ip(169, 254, 0, 0), 16, AddressKind::kNever},     Block{ip(172, 16, 0, 0), 12, AddressKind::kPrivate},
    Block{ip(192, 0, 0, 0), 24, AddressKind::kNever},       Block{ip(192, 0, 2, 0), 24, AddressKind::kNever},
    Block{ip(192, 88, 99, 0), 24, AddressKind::kNever},     Block{ip(192, 168, 0, 0), 16, AddressKind::kPrivate},
    Block{ip(198, 18, 0, 0), 15, AddressKind::kNever},      Block{ip(198, 51, 100, 0), 24, AddressKind::kNever},
    Block{ip(203, 0, 113, 0), 24, AddressKind::kNever},     Block{ip(224, 0, 0, 0), 3, AddressKind::kNever}};

AddressKind kind_of_ipv4(std::uint32_t address) {
  for (const Block& block : kBlocks) {
    if ((address ^ block.begin) >> (32 - block.n_bits) == 0) return block.kind;
  }
  return AddressKind::kPublic;
}

AddressKind kind_of_ipv6(const std::array<std::uint8_t, 16>& bytes) {
  const auto begins = [&](std::initializer_list<int> prefix) {
    return std::equal(prefix.begin(), prefix.end(), bytes.begin());
  };
  const auto ipv4_at = [&](std::size_t i) {
    return kind_of_ipv4(ip(bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]));
  };
  if (begins({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})) return ipv4_at(12);     // mapped
  if (begins({0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) return ipv4_at(12);  // NAT64
  if (begins({0x20, 0x02})) return ipv4_at(2);                                    // 6to4
  if (begins({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})) return AddressKind::kPrivate;
  if (begins({0xfd, 0x00, 0x0e, 0xc2})) return AddressKind::kNever;  // a metadata service
  if ((bytes[0] & 0xfe) == 0xfc) return AddressKind::kPrivate;
  if ((bytes[0] & 0xe0) != 0x20) return AddressKind::kNever;      // all that is public is in 2000::/3
  const bool is_protocol = begins({0x20, 0x01}) && bytes[2] < 2;  // 2001::/23, Teredo among it
  const bool is_documentation = begins({0x20, 0x01, 0x0d, 0xb8}) || (begins({0x3f, 0xff}) && bytes[2] < 0x10);
  return is_protocol || is_documentation ? AddressKind::kNever : AddressKind::kPublic;
}

Error refused(auto&&... parts) { return Error(Code::kInvalidArgument, parts...); }

/// What a URL leads to.
struct Place {
  std::string host;  ///< lower case, without the dot at the end
  int port = 0;
  bool is_https = false;
  bool may_be_private = false;
};

using Url = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

std::string part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return "";
  const std::unique_ptr<char, decltype(&curl_free)> owned(text, curl_free);
  return text;
}

bool is_usual_port(int port) { return port == 80 || port == 443 || port >= kFirstFreePort; }

/// Names that lead into the machine's own network, whatever they resolve to.
bool is_private_name(std::string_view host) {
  return host == "localhost" || host.ends_with(".localhost") || host.ends_with(".internal") || host.ends_with(".local");
}

bool matches(const FetchPolicy::Host& entry, const Place& place) {
  if (entry.port != 0 ? entry.port != place.port : !is_usual_port(place.port)) return false;
  return entry.name.starts_with('.') ? place.host.ends_with(entry.name) : place.host == entry.name;
}

Status check_policy(Place& place, const FetchPolicy& policy) {
  bool is_listed = policy.hosts.empty();
  for (const FetchPolicy::Host& entry : policy.hosts) {
    if (!matches(entry, place)) continue;
    is_listed = true;
    place.may_be_private |= !entry.name.starts_with('.');
  }
  if (!is_listed) {
    return refused("lies at ", place.host, ":", place.port,
                   ", which is not among the hosts this server fetches from (--image-urls); send it as a data: URL");
  }
  if (place.may_be_private) return {};
  if (!is_usual_port(place.port)) {
    return refused("has the port ", place.port, "; only 80, 443 and those from ", kFirstFreePort,
                   " on are fetched from");
  }
  if (is_private_name(place.host)) {
    return refused("lies at ", place.host, ", which is not a public host; send it as a data: URL");
  }
  return {};
}

Result<Place> read_place(const std::string& url, const FetchPolicy& policy) {
  if (url.size() > kMostUrlBytes) return refused("has a URL longer than ", kMostUrlBytes, " bytes");
  const Url parsed(curl_url(), curl_url_cleanup);
  if (!parsed) return no_memory();
  const bool is_clean = url.find('\0') == std::string::npos;  // else curl would see the beginning alone
  if (!is_clean || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
    return refused("has no valid http or https URL");
  }
  const std::string scheme = part_of(parsed.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return refused("leads to a URL that is neither http nor https");
  if (!part_of(parsed.get(), CURLUPART_USER).empty() || !part_of(parsed.get(), CURLUPART_PASSWORD).empty()) {
    return refused("has a user or password in its URL, which is not sent anywhere: leave it out");
  }
  Place place{.host = lower(part_of(parsed.get(), CURLUPART_HOST)), .is_https = scheme == "https"};
  if (place.host.ends_with('.')) place.host.pop_back();
  const std::string port = part_of(parsed.get(), CURLUPART_PORT);
  std::from_chars(port.data(), port.data() + port.size(), place.port);
  TRY(check_policy(place, policy));
  return place;
}

/// One exchange, as curl's callbacks see it.
struct Transfer {
  const PublicFetch* request;
  bool may_be_private = false;
  bool is_refused = false;  ///< an address was
  bool is_too_long = false;
  bool is_scarce = false;
  CURL* curl = nullptr;
  std::uint64_t n_bytes = 0;
  std::string body = {};
};

curl_socket_t on_socket(void* user, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(user);
  const AddressKind kind = address_kind(address->addr);
  if (kind == AddressKind::kNever || (kind == AddressKind::kPrivate && !transfer.may_be_private)) {
    transfer.is_refused = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

std::size_t on_body(char* data, std::size_t size, std::size_t n, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.n_bytes += size * n;
  transfer.is_too_long = transfer.n_bytes > transfer.request->max_bytes;
  if (transfer.is_too_long) return 0;
  long status = 0;
  curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) return size * n;
  transfer.is_scarce = !done_unless_scarce([&] { transfer.body.append(data, size * n); });
  return transfer.is_scarce ? 0 : size * n;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept {
  return static_cast<Transfer*>(user)->request->is_cancelled() ? 1 : 0;
}

Error failure(CURLcode code, const Transfer& transfer, const std::string& host) {
  if (code == CURLE_ABORTED_BY_CALLBACK) return Error(Code::kCancelled, "the fetch was ended here");
  if (transfer.is_scarce || code == CURLE_OUT_OF_MEMORY) return no_memory();
  if (transfer.is_too_long || code == CURLE_FILESIZE_EXCEEDED) {
    return refused("is, at ", host, ", larger than the ", transfer.request->max_bytes, " bytes left for it");
  }
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return refused("did not come from ", host, " in time; send it as a data: URL");
    case CURLE_COULDNT_RESOLVE_HOST: return refused("lies at ", host, ", a name that is not known here");
    case CURLE_PEER_FAILED_VERIFICATION: return refused("lies at ", host, ", whose certificate is not trusted here");
    default: break;
  }
  if (transfer.is_refused) {
    return refused("lies at ", host, ", which is not a public host; send it as a data: URL");
  }
  return refused("could not be fetched from ", host, " (", curl_easy_strerror(code), ")");
}

void set_options(CURL* curl, Transfer& transfer, const std::string& url, long n_left_ms) {
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_PROXY, "");  // else what is checked would be the proxy's address
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "commissure");
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, std::min<long>(n_left_ms, kConnectTimeout.count()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, n_left_ms);
  curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(transfer.request->max_bytes));
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  if (const char* file = trust_file()) curl_easy_setopt(curl, CURLOPT_CAINFO, file);
  if (!transfer.request->is_cancelled) return;
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
}

/// The body, or where it redirects to.
struct Hop {
  std::string body = {};
  std::string next = {};
};

Result<Hop> fetch_hop(const PublicFetch& request, const std::string& url, const Place& place) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(request.deadline - std::chrono::steady_clock::now());
  if (left.count() <= 0) return refused("did not come from ", place.host, " in time; send it as a data: URL");
  [[maybe_unused]] static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) return no_memory();
  Transfer transfer{.request = &request, .may_be_private = place.may_be_private, .curl = curl.get()};
  set_options(curl.get(), transfer, url, static_cast<long>(left.count()));
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) return failure(code, transfer, place.host);
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status == 200) return Hop{.body = std::move(transfer.body)};
  const char* next = nullptr;
  curl_easy_getinfo(curl.get(), CURLINFO_REDIRECT_URL, &next);
  if (next != nullptr) return Hop{.next = next};
  return refused("could not be fetched: ", place.host, " answered with HTTP status ", status);
}

Result<std::string> try_fetch(const PublicFetch& request) {
  if (request.policy.is_off) {
    return refused(
        "names an image by its address, but this server fetches none (--image-urls): send it as "
        "data:image/png;base64,...");
  }
  std::string url = request.url;
  bool was_https = false;
  for (int i = 0; i <= kMostRedirects; ++i) {
    const Place place = TRY(read_place(url, request.policy));
    if (was_https && !place.is_https) return refused("is redirected from https to http by its host");
    was_https = place.is_https;
    Hop hop = TRY(fetch_hop(request, url, place));
    if (hop.next.empty()) return std::move(hop.body);
    url = std::move(hop.next);
  }
  return refused("is redirected more than ", kMostRedirects, " times; send the address it ends at");
}

Result<FetchPolicy::Host> read_host(std::string_view entry) {
  const auto bad = [&] {
    return Error(Code::kInvalidArgument, "\"", entry, "\" must be a host, .domain or either with :PORT");
  };
  FetchPolicy::Host host;
  const bool is_bracketed = entry.starts_with('[');
  const auto colon = is_bracketed ? entry.find("]:") : entry.find(':');
  std::string_view name = entry;
  if (colon != entry.npos) {
    name = entry.substr(0, is_bracketed ? colon + 1 : colon);
    const std::string_view port = entry.substr(colon + (is_bracketed ? 2 : 1));
    const auto read = std::from_chars(port.data(), port.data() + port.size(), host.port);
    if (read.ec != std::errc() || read.ptr != port.data() + port.size() || host.port < 1 || host.port > 65535) {
      return bad();
    }
  }
  host.name = lower(std::string(name));
  const std::string_view known = is_bracketed ? "[]:.abcdef0123456789" : "abcdefghijklmnopqrstuvwxyz0123456789-._";
  if (host.name.empty() || host.name == "." || host.name.find_first_not_of(known) != std::string::npos) return bad();
  return host;
}

}  // namespace

AddressKind address_kind(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in ipv4{};
    std::memcpy(&ipv4, &address, sizeof ipv4);
    return kind_of_ipv4(ntohl(ipv4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return AddressKind::kNever;
  sockaddr_in6 ipv6{};
  std::memcpy(&ipv6, &address, sizeof ipv6);
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &ipv6.sin6_addr, bytes.size());
  return kind_of_ipv6(bytes);
}

Result<FetchPolicy> FetchPolicy::parse(std::string_view text) {
  FetchPolicy policy{.is_off = text == "off"};
  if (policy.is_off || text == "public") return policy;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    policy.hosts.push_back(TRY(read_host(text.substr(begin, end - begin))));
    begin = end + 1;
  }
  return policy;
}

Result<std::string> public_fetch(const PublicFetch& request) {
  return unless_scarce([&] { return try_fetch(request); }, []() -> Result<std::string> { return no_memory(); });
}

}  // namespace commissure
