#pragma once

#include <chrono>
#include <string>

#include "core/result.h"

namespace commissure {

/// A token as the metadata server gave it.
struct GivenToken {
  std::string text;
  std::chrono::system_clock::time_point expires;
};

/// Reads what Google's metadata server answers where it is asked for a token: for Google's APIs, as JSON that says how
/// long it lives, and of who this machine is, as a JWT. No error holds a part of the answer.
/// Errors: kDataLoss, an answer without a usable token.
Result<GivenToken> read_access_token(const std::string& body, std::chrono::system_clock::time_point now);
Result<GivenToken> read_identity_token(const std::string& body, std::chrono::system_clock::time_point now);

}  // namespace commissure
