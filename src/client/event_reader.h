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

  /// Errors: the handler's; kInvalidArgument, an event is not JSON; kDataLoss, an event without end.
  Status push(std::string_view piece);

 private:
  Handler handler_;
  std::string held_;
};

/// The text a chunk's choice carries, of either endpoint's shape; "" without. `with_reasoning`: a chat model's
/// thoughts, which have a field of their own, count as text.
std::string choice_text(const Json& choice, bool with_reasoning = false);

}  // namespace commissure
