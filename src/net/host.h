#pragma once

#include <string>
#include <string_view>

namespace commissure {

/// Whether a host can only mean this machine: "localhost", 127.a.b.c or ::1, in brackets or not. A name that merely
/// begins like one ("127.evil.example") may be anybody's.
bool is_loopback(std::string_view host);

/// The host of "user@host:port", brackets included; all of it where there is neither user nor port.
std::string_view host_of(std::string_view authority);

/// "host:port", with brackets around an IPv6 address.
std::string host_and_port(std::string_view host, int port);

}  // namespace commissure
