#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// A model's own chat template (Jinja), compiled once.
/// Threading: render from any thread, several at once.
class ChatTemplate {
 public:
  /// Errors: kInvalidArgument with the template engine's message and line.
  static Result<std::unique_ptr<ChatTemplate>> compile(std::string_view source);

  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  /// `variables`: messages, add_generation_prompt, bos_token, eos_token, tools, and anything else the caller passes on.
  /// Errors: kInvalidArgument, raise_exception's text or the engine's message.
  Result<std::string> render(const Json& variables) const;

 private:
  explicit ChatTemplate(void* handle) : handle_(handle) {}
  void* handle_;  // owned; the Rust side's compiled environment
};

}  // namespace commissure
