#pragma once

#include <string>
#include <vector>

namespace commissure {

/// The next piece of one tool call. The first piece of a call has `id` and `name`; `arguments` are JSON text in pieces.
struct CallDelta {
  int index = 0;
  std::string id = {};
  std::string name = {};
  std::string arguments = {};
};

/// What a piece of an answer adds to each of its parts.
struct AnswerDelta {
  std::string reasoning = {};
  std::string content = {};
  std::vector<CallDelta> calls = {};

  /// Adds what comes after it.
  void append(AnswerDelta next);
  bool empty() const { return reasoning.empty() && content.empty() && calls.empty(); }
};

}  // namespace commissure
