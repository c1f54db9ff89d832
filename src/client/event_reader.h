#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// Reassembles the "data:" events of a server-sent stream from pieces of a body and hands their JSON over; comments,
/// other fields and the closing [DONE] are left out.
class EventReader {
 public:
  using Handler = std::function<Status(const Json&)>;
  explicit EventReader(Handler handler) : handler_(std::move(handler)) {}

  /// Takes the next piece of the body, cut anywhere, and calls the handler for each event that is complete with it.
  /// Errors: the handler's; kInvalidArgument, an event is not JSON; kDataLoss, an event has more than 64 MiB.
  Status push(std::string_view piece);

 private:
  Handler handler_;
  std::string held_;
};

/// The new text in one choice of a chunk, from /v1/chat/completions ("delta") or /v1/completions ("text"); "" where the
/// chunk has none. `with_reasoning`: where there is no content, the fields "reasoning_content" and "reasoning" count.
std::string choice_text(const Json& choice, bool with_reasoning = false);

/// What the model thinks, in the same: "reasoning_content" or "reasoning" of a "delta"; "" where the chunk has none.
std::string choice_thought(const Json& choice);

}  // namespace commissure
