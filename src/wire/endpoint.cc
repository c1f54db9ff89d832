#include "wire/endpoint.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>

#include "net/host.h"

namespace commissure {
namespace {

// sockaddr_un::sun_path holds 108 bytes with its terminator; gRPC fails obscurely above that.
constexpr std::size_t kMaxSocketPath = 107;

constexpr std::string_view kNotInHosts = " /:@?#[]\t\r\n";
/// Words that gRPC reads as a way to look names up when a colon follows: "unix:9000" is a socket of that name.
constexpr std::string_view kSchemes[] = {"dns", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds", "google-c2p"};

bool is_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  return problem == std::errc() && end == text.data() + text.size();
}

bool is_host(std::string_view host) {
  if (!host.starts_with('[')) {
    return !host.empty() && host.find_first_of(kNotInHosts) == std::string_view::npos &&
           std::ranges::find(kSchemes, host) == std::end(kSchemes);
  }
  if (!host.ends_with(']')) return false;
  const std::string_view inside = host.substr(1, host.size() - 2);  // an address, and a zone behind a per cent sign
  const std::string_view address = inside.substr(0, inside.find('%'));
  return !address.empty() && address.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos &&
         inside.substr(address.size()).find_first_of(kNotInHosts) == std::string_view::npos;
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text, bool allow_plaintext) {
  const auto refused = [&](auto&&... why) { return Error(Code::kInvalidArgument, "endpoint '", text, "': ", why...); };
  if (text.starts_with("unix:")) {
    std::string_view path = text.substr(5);
    if (path.starts_with("///")) path.remove_prefix(std::min(path.find_first_not_of('/'), path.size()) - 1);
    if (!path.starts_with('/') || path.starts_with("//"))
      return refused("a unix socket needs an absolute path, like unix:/run/b.sock");
    if (path.size() > kMaxSocketPath) {
      return refused("the path has ", path.size(), " bytes, a socket path at most ", kMaxSocketPath);
    }
    return Endpoint{"unix:" + std::string(path), false, true};
  }
  std::string_view rest = text;
  const bool tls = rest.starts_with("https://");
  if (tls) rest.remove_prefix(8);
  if (!tls && rest.starts_with("http://")) rest.remove_prefix(7);
  if (rest.ends_with('/')) rest.remove_suffix(1);

  std::size_t colon = rest.rfind(':');
  if (rest.ends_with(']')) colon = std::string_view::npos;  // inside an IPv6 address
  const std::string_view host = rest.substr(0, colon);
  const std::string_view port = colon == std::string_view::npos ? std::string_view("443") : rest.substr(colon + 1);
  if (colon == std::string_view::npos && !tls) return refused("it needs a port, like ", text, ":9000");
  if (!is_host(host)) return refused("write it as host:port, unix:/path, http://host:port or https://host");
  if (!is_port(port)) return refused("'", port, "' is no port");

  const bool local = is_loopback(host);
  if (!tls && !local && !allow_plaintext) {
    return refused("plaintext to another machine is refused; use https://, or allow plaintext");
  }
  Endpoint endpoint{fmt::format("{}:{}", host, port), tls, local};
  if (tls) endpoint.base_url = fmt::format("https://{}{}{}", host, port == "443" ? "" : ":", port == "443" ? "" : port);
  return endpoint;
}

}  // namespace commissure
