#pragma once

#include <string>

#include "core/json.h"

namespace commissure {

/// How far each stage of a waking chain is, for the client that waits: of `status`, what /health adds ({"stages":
/// [...]}).
///   {"stages": [{"stage": "b", "state": "loading", "percent": 37}, ...]}
Json warming_progress(const Json& status);

/// The same as a comment of a stream, which every client ignores: ": warming a ready, b 37 %, c cold\n\n"
std::string warming_comment(const Json& progress);

/// The same as an event, for clients that asked for it: "event: warming\ndata: {...}\n\n"
std::string warming_event(const Json& progress);

}  // namespace commissure
