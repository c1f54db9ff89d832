#pragma once

#include "wire/chain_session.h"
#include "wire/frame.h"

namespace commissure {

/// What stage `self` says when it opens a stream.
Hello client_hello(const StageInfo& self, const ChainSession& session);

/// The stages of a server's hello that do not have the rows which the client's session was to resume, by index in the
/// chain.
StageSpan lost_stages(const Hello& hello);

/// Whether stage `self` may take steps from the sender of `hello`.
/// Errors: kFailedPrecondition, naming both sides.
Status accept_client_hello(const StageInfo& self, const Hello& hello);

/// Whether stage `self` may send steps to the sender of `hello` and the stages behind it. Stage A checks the whole
/// chain here, every other stage the part that begins with itself.
/// Errors: kFailedPrecondition, naming both sides.
Status accept_server_hello(const StageInfo& self, const Hello& hello);

}  // namespace commissure
