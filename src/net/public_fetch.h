#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace commissure {

/// Whose URLs strangers may have fetched here.
struct FetchPolicy {
  struct Host {
    std::string name;  ///< lower case; with a leading dot: the names under it
    int port = 0;      ///< 0: 80, 443 and those from 1024 on
  };
  bool is_off = false;
  std::vector<Host> hosts = {};  ///< empty: every public host

  /// Reads "off", "public" or "HOST[,HOST...]", where a host is a name, ".domain", an IPv4 address or an IPv6 address
  /// in brackets, each with ":PORT" or without. Errors: kInvalidArgument naming the entry.
  static Result<FetchPolicy> parse(std::string_view text);
};

/// Where an address leads.
enum class AddressKind {
  kPublic,
  kPrivate,  ///< this machine or its network: RFC 1918, loopback, shared (100.64/10) and unique local addresses
  kNever,    ///< link-local and the clouds' metadata services, multicast, unspecified, reserved
};

/// Of what a socket is about to be connected to. IPv6 forms that carry an IPv4 address (mapped, NAT64, 6to4) are judged
/// by it. A family that is neither is kNever.
AddressKind address_kind(const sockaddr& address);

/// One GET on behalf of a stranger.
struct PublicFetch {
  std::string url = {};
  const FetchPolicy& policy;
  std::uint64_t max_bytes = 1u << 20;
  std::chrono::steady_clock::time_point deadline = {};  ///< for redirects too
  std::function<bool()> is_cancelled = {};              ///< asked as HttpFetch's is; may be empty
};

/// Fetches the body of a 200. The policy is kept at each of at most 3 redirects, by the address that is connected to;
/// no proxy, cookie or credential is used. A host that the policy names exactly may be private; one that it does not
/// must be public. Errors (cause and cure, "lies at a private address: ..."; of the URL the host alone is shown):
/// kInvalidArgument; kCancelled.
/// Threading: any thread.
Result<std::string> public_fetch(const PublicFetch& request);

}  // namespace commissure
