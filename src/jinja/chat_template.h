#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/json.h"
#include "core/result.h"
#include "jinja/value/heap.h"

namespace commissure {

namespace jinja {
struct Syntax;
}

/// A model's own chat template (Jinja), compiled once. It is code from a stranger: reading it is bounded in size and
/// depth, rendering in steps, memory, depth and output.
/// Threading: render from any thread, several at once.
class ChatTemplate {
 public:
  /// Errors: kInvalidArgument, what is wrong and in which line.
  static Result<std::unique_ptr<ChatTemplate>> compile(std::string_view source);

  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  /// The text that transformers' apply_chat_template gives. `variables`: an object of messages, add_generation_prompt,
  /// bos_token, eos_token, tools, and anything else the caller passes on; it outlives the call.
  /// Errors: kInvalidArgument, raise_exception's text or what went wrong in which line; kResourceExhausted, a limit;
  /// kCancelled, Limits::is_unwanted.
  Result<std::string> render(const Json& variables, const jinja::Limits& limits = {}) const;

  /// Whether it walks over a message's content where that is a list of parts (found by trying).
  bool takes_parts() const { return takes_parts_; }
  /// Whether it looks at messages' tool calls, and so at their content as Python's None beside them.
  bool knows_tool_calls() const { return knows_tool_calls_; }
  /// Whether it writes messages in the channels of gpt-oss (Harmony).
  bool has_channels() const { return has_channels_; }

 private:
  explicit ChatTemplate(std::unique_ptr<jinja::Syntax> syntax);
  std::unique_ptr<jinja::Syntax> syntax_;
  bool takes_parts_ = false;
  bool knows_tool_calls_ = false;
  bool has_channels_ = false;
};

}  // namespace commissure
