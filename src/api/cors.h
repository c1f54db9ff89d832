#pragma once

#include <string>
#include <vector>

#include "http/http.h"

namespace commissure {

/// Whether a page of the request's Origin may call: one of the server itself, one from this machine, or one that
/// `origins` names ({"*"}: any). Without an Origin it is no page of another site, and may.
bool is_allowed_origin(const HttpRequest& request, const std::vector<std::string>& origins);

/// Whether the request's Host may mean this machine, or is one of `names` ({"*"}: any; no ports). A page of
/// evil.example whose name is made to point here ("DNS rebinding") is of one origin with this server for the browser,
/// and only Host gives it away. A name without a dot may: nobody outside can make one resolve. Without a Host it is no
/// browser.
bool is_allowed_host(const HttpRequest& request, const std::vector<std::string>& names);

/// What a browser needs to hand the answer to the page that asked; nothing for one that may not have it.
HttpHeaders cors_headers(const HttpRequest& request, const std::vector<std::string>& origins);

}  // namespace commissure
